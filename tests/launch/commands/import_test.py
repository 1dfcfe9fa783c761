#!/usr/bin/env python3
"""couplet import: tables made of numpy's and h5py's files, read back with h5py; inputs that are refused."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import Program, check  # noqa: E402

ROWS, SHAPE = 1100, (3, 8, 8)


def pairs(noise_type="f4", label_type="i8"):
    random = np.random.default_rng(3)
    return {"noise": (2 * random.standard_normal((ROWS, *SHAPE))).astype(noise_type),
            "image": random.integers(0, 256, (ROWS, *SHAPE)).astype("u1"),
            "label": random.integers(0, 10, ROWS).astype(label_type)}


def save(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, chunks=True, compression="gzip")


def check_table(program, table, arrays, stored, source):
    """The table holds `arrays`, noise as `stored`; it verifies, and inspect reads it."""
    manifest = json.loads((table / "manifest.json").read_text())
    check(manifest["rows"] == ROWS and manifest["shard_rows"] == 512 and manifest["block_rows"] == 64, "layout")
    provenance = manifest["provenance"]
    check(provenance["kind"] == "imported" and provenance["source"] == source.name, f"provenance {provenance}")
    files = [h5py.File(path) for path in sorted(table.glob("shard-*.h5"))]
    check([file.attrs["rows"] for file in files] == [512, 512, 76], "rows of the shards")
    columns = {name: np.concatenate([file[name][:] for file in files]) for name in files[0] if not name.endswith("checksums")}
    check(sorted(columns) == ["flip", "image", "label", "noise", "replicate", "sample"], f"columns {sorted(columns)}")
    check(columns["noise"].dtype == stored and np.array_equal(columns["noise"], arrays["noise"].astype(stored)), "noise")
    check(np.array_equal(columns["image"], arrays["image"]), "image")
    check(np.array_equal(columns["label"], arrays.get("label", np.zeros(ROWS))), "label")
    check(np.array_equal(columns["sample"], np.arange(ROWS)), "sample")
    check(not columns["flip"].any() and not columns["replicate"].any(), "flip and replicate")
    sigma = np.sqrt(np.mean(columns["noise"].astype("f8")**2))
    check(abs(manifest["summary"]["sigma_f"] / sigma - 1) < 1e-12, "sigma_f")
    program.works("verify", table)
    found = json.loads(program.works("inspect", table, "--json"))
    check(abs(found["couplings"]["sigma_f_relative_difference"]) < 1e-12, "sigma_f of inspect")
    check("nll" not in found["couplings"], "likelihoods are not known")
    for file in files:
        file.close()
    return provenance["source_hash"]


def check_imports(program, work):
    layout = ["--shard-rows", 512, "--block-rows", 64]
    cases = [("a.npz", pairs("f2"), "f2"), ("b.npz", pairs("f4", "u1"), "f4"), ("c.h5", pairs("f2", "u8"), "f2"),
             ("d.h5", pairs("f4", ">i2"), "f4"), ("e.npz", pairs("f8", "i4"), "f4")]
    hashes = set()
    for name, arrays, stored in cases:
        save(work / name, arrays)
        table = work / f"table-{name}"
        text = program.works("import", work / name, "--output", table, *layout)
        check(("stored as float32" in text) == (arrays["noise"].dtype == "f8"), f"{name}: {text}")
        hashes.add(check_table(program, table, arrays, stored, work / name))
    check(len(hashes) == len(cases), "every source has its own hash")
    unlabelled = {name: values for name, values in cases[0][1].items() if name != "label"}
    save(work / "f.npz", unlabelled)
    check("every label is 0" in program.works("import", work / "f.npz", "--output", work / "table-f", *layout), "labels")
    check_table(program, work / "table-f", unlabelled, "f2", work / "f.npz")

    # A table is a source too, and keeps where its rows came from; equal rows give equal shards.
    program.works("import", work / "table-a.npz", "--output", work / "again", *layout)
    for shard in sorted((work / "table-a.npz").iterdir()):
        check(shard.read_bytes() == (work / "again" / shard.name).read_bytes(), f"{shard.name} differs")
    # A name that is no UTF-8 stands in the provenance as text.
    named = work / os.fsdecode(b"gr\xfc.npz")
    shutil.copy(work / "a.npz", named)
    words = ["import", named, "--output", work / "table-named", *layout]
    done = subprocess.run([program.couplet, *map(str, words)], capture_output=True, timeout=600)
    check(done.returncode == 0, f"a name that is no UTF-8: {done.stderr}")
    source = json.loads((work / "table-named" / "manifest.json").read_text())["provenance"]["source"]
    check(source == "gr\\xFC.npz", f"source {source}")
    # A folder of two files, whose images are as models see them: inspect describes and draws such a table, too.
    seen = cases[0][1]["image"] / np.float32(127.5) - 1
    (work / "folder").mkdir()
    np.save(work / "folder" / "X.npy", seen)
    np.save(work / "folder" / "X_noise.npy", cases[0][1]["noise"])
    text = program.works("import", work / "folder", "--output", work / "table-seen", *layout)
    check("images as models see them" in text, text)
    program.works("verify", work / "table-seen")
    grey, floats = (json.loads(program.works("inspect", work / table, "--json")) for table in ("again", "table-seen"))
    check(next(column["type"] for column in floats["columns"] if column["name"] == "image") == "float32", "type")
    costs = [found["couplings"]["transport_cost"]["mean"] for found in (grey, floats)]
    check(abs(costs[0] / costs[1] - 1) < 1e-6, f"transport costs {costs}")
    for table in ("again", "table-seen"):
        program.works("inspect", work / table, "--pictures", work / f"{table}.png", "--rows", "0-15")
    check((work / "again.png").read_bytes() == (work / "table-seen.png").read_bytes(), "pictures")
    # What is exported comes back.
    program.works("inspect", work / "again", "--export", work / "g.npz")
    program.works("import", work / "g.npz", "--output", work / "table-g", *layout)
    check_table(program, work / "table-g", cases[0][1], "f2", work / "g.npz")


def check_refusals(program, work):
    good = pairs()
    output = work / "refused"

    def refuses(status, parts, name="bad.npz", source=None, **changes):
        arrays = {key: value for key, value in {**good, **changes}.items() if value is not None}
        source = source or work / name
        if not source.exists() or source.name.startswith("bad"):
            save(source, arrays)
        program.refuses(status, [source.name, *parts], "import", source, "--output", output)
        check(not output.exists(), f"{parts}: a table was left")
        check(not [path for path in work.iterdir() if path.name.startswith(".partial")], f"{parts}: leftovers")

    nan = good["noise"].copy()
    nan[700, 1, 2, 3] = np.nan
    for name in ("bad.npz", "bad.h5"):
        refuses(2, ["'noise'", "noise, image", "found image, label"], name, noise=None)
        refuses(2, ["no array 'image'"], name, image=None)
        refuses(2, ["'noise' is int32", "float16, float32"], name, noise=good["noise"].astype("i4"))
        refuses(2, ["'noise' is float32 [1100, 3, 64]"], name, noise=good["noise"].reshape(ROWS, 3, 64))
        refuses(2, ["'noise' is float32 [1100, 3, 4, 16]"], name, noise=good["noise"].reshape(ROWS, 3, 4, 16))
        refuses(2, ["'image' is int32", "uint8"], name, image=good["image"].astype("i4"))
        refuses(2, ["'image' is float32 [1100, 3, 8, 8]", "without a value below 0"], name, image=good["image"].astype("f4") / 255)
        refuses(2, ["'image' is uint8 [1099, 3, 8, 8]", "uint8 [1100, 3, 8, 8]"], name, image=good["image"][1:])
        refuses(2, ["'label' is float32 [1100]"], name, label=good["label"].astype("f4"))
        refuses(2, ["'label' is int64 [1099]", "integers [1100]"], name, label=good["label"][1:])
        refuses(2, ["'label' is int64 [1100, 1]"], name, label=good["label"][:, None])
        refuses(1, ["'noise'", "row 700", "NaN"], name, noise=nan)
        refuses(1, ["'label'", "row 3 has label -1", "expected 0 to"], name, label=np.where(np.arange(ROWS) == 3, -1, 5))
        refuses(1, ["row 1099 has label 2147483648"], name, label=np.where(np.arange(ROWS) == ROWS - 1, 2**31, 5))
    refuses(1, ["'noise'", "row 9", "beyond float32"],
            noise=np.where(np.arange(ROWS)[:, None, None, None] == 9, 1e39, good["noise"].astype("f8")))
    refuses(1, ["0 everywhere"], noise=np.zeros_like(good["noise"]))
    refuses(1, ["row 4", "18446744073709551615"], label=np.array([2**64 - 1 if row == 4 else 5 for row in range(ROWS)], "u8"))
    (work / "text.npz").write_text("no arrays")
    refuses(2, ["neither"], source=work / "text.npz")
    with h5py.File(work / "links.h5", "w") as file:
        for name in ("noise", "image"):
            file[f"all/{name}"] = good[name]
            file[name] = h5py.SoftLink(f"/all/{name}")
        file["label"] = h5py.SoftLink("/all/label")
    refuses(2, ["'label' is a link to '/all/label'", "there is nothing"], source=work / "links.h5")
    with h5py.File(work / "group.h5", "w") as file:
        file["all/noise"] = good["noise"]
    refuses(2, ["no array 'image' in or beside 'all'", "found all/noise"], source=work / "group.h5")
    with h5py.File(work / "part.h5", "w") as file:
        file["noise"], file["image"] = good["noise"], good["image"]
        file.create_dataset("label", (ROWS,), "i8", chunks=(100,))[:500] = 1
    refuses(2, ["'label'", "6 of its 11 chunks were never written"], source=work / "part.h5")

    save(work / "good.npz", good)
    program.refuses(2, ["none.npz", "does not exist"], "import", work / "none.npz", "--output", output)
    program.refuses(2, ["--output"], "import", work / "good.npz")
    program.refuses(2, ["--shard-rows 100", "--block-rows 64"], "import", work / "good.npz", "--output", output,
                    "--shard-rows", 100, "--block-rows", 64)
    program.works("import", work / "good.npz", "--output", output)
    before = (output / "manifest.json").read_bytes()
    program.refuses(2, ["refused", "not overwritten"], "import", work / "good.npz", "--output", output)
    check((output / "manifest.json").read_bytes() == before, "the table that was there")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--work", required=True)
    arguments = parser.parse_args()
    work = Path(arguments.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program = Program(arguments.couplet)
    check_imports(program, work)
    check_refusals(program, work)
    shutil.rmtree(work)
    print("OK")


if __name__ == "__main__":
    main()
