#!/usr/bin/env python3
"""The coupling table in use: made in parts by several jobs, killed inside its publications, damaged and repaired.

Trains a tiny teacher once, makes one table in peace, and holds every other way of making it against that one, byte for byte.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402
from table_run import JOB_SECONDS, ROWS, Run, kill_tree  # noqa: E402

POINTS = ("written", "synced", "renamed", "published")  # of a publication, at which a process can be told to die


def compare(run, plain):
    """Every file of the finished table against the one made in peace."""
    files = {str(path.relative_to(plain.table)) for path in plain.table.rglob("*") if path.suffix in (".h5", ".json") and path.name != "stage.json"}
    check(len(files) > 20, f"only {files} to compare")
    found = {str(path.relative_to(run.table)) for path in run.table.rglob("*") if path.suffix in (".h5", ".json") and path.name != "stage.json"}
    check(files == found, f"files of one table only: {sorted(files ^ found)}")
    different = [name for name in sorted(files) if (plain.table / name).read_bytes() != (run.table / name).read_bytes()]
    check(not different, f"files that differ: {different}")


def check_shards(run, plain):
    """What stands under a final name is whole and right, finished or not. Returns how many there are."""
    found = run.shards()
    for name, path in found.items():
        with h5py.File(path) as shard:
            check(shard["noise"].shape[0] == ROWS, f"{name} holds {shard['noise'].shape[0]} rows")
        check(path.read_bytes() == (plain.table / name).read_bytes(), f"{name} differs from the table made in peace")
    return len(found)


# The cases


def parts(base, plain, arguments):
    """Two jobs on disjoint ranges at once, one of them killed and started again."""
    run = Run(arguments, "parts", base)
    half, last = len(plain.shards()) // 2, len(plain.shards()) - 1
    first, second = run.start("couple", "--couple.shards", f"0-{half}"), run.start("couple", "--couple.shards", f"{half + 1}-{last}")
    deadline = time.monotonic() + JOB_SECONDS
    while len(run.shards()) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    kill_tree(second)
    run.wait(second)
    status, output = run.wait(first)
    check(status == 0 and "still missing" in output, f"the first part ended with status {status}: {output}")
    counted = json.loads((run.directory / "log" / f"coupling-nf-0-{half}.traffic.json").read_text())
    written, least = counted["bytes_written"]["all"], half * min(path.stat().st_size for path in run.shards().values())
    check(written > least, f"the first part counts {written} bytes that it has written, of {half + 1} shards; expected over {least}")
    check(not (run.table / "train" / "manifest.json").exists(), "a table with missing shards has a manifest")
    status, output = run.couple("--couple.finish")
    check(status == 1 and "are missing" in output, f"--couple.finish of an unfinished table: status {status}: {output}")
    before = {name: path.stat().st_mtime_ns for name, path in run.shards().items()}
    status, output = run.couple("--couple.shards", f"{half + 1}-{last}")
    check(status == 0, f"the second part, started again, ended with status {status}: {output}")
    kept = [name for name, path in run.shards().items() if path.stat().st_mtime_ns == before.get(name)]
    check(len(kept) == len(before) >= 8, f"{len(kept)} of {len(before)} shards were left alone by the rerun")
    compare(run, plain)
    status, output = run.couple()
    check(status == 0 and "skipped" in output, f"a table closed by its last part is not complete: {output}")


def finish(base, plain, arguments):
    """The job that makes the last shard dies before the manifest; --couple.finish closes the table."""
    run = Run(arguments, "finish", base)
    status, output = run.couple("--couple.shards", f"0-{len(plain.shards()) - 1}", kill="manifest.json:synced")
    check(status == -signal.SIGKILL, f"the job was to die before the manifest: status {status}: {output}")
    check(not (run.table / "train" / "manifest.json").exists() and check_shards(run, plain) == len(plain.shards()), "not all shards are there")
    status, output = run.couple("--couple.finish")
    check(status == 0, f"--couple.finish ended with status {status}: {output}")
    compare(run, plain)


def columns(run):
    """The training rows of a finished table, by column."""
    shards = [h5py.File(path) for path in sorted((run.table / "train").glob("shard-*.h5"))]
    return {name: numpy.concatenate([shard[name][:] for shard in shards]) for name in ("noise", "image", "sample", "flip", "replicate")}


def variants(base, arguments):
    """Mirror images and several draws of the teacher's noise. Row r has the noise of number r in any table, so that a table of
    four draws and one of two draws of image and mirror image agree wherever a row has the same image."""
    made = []
    for name, flips, replicates in (("draws", "false", "4"), ("mirrored", "true", "2")):
        run = Run(arguments, name, base)
        status, output = run.couple("--couple.flips", flips, "--couple.replicates", replicates)
        check(status == 0, f"couple of {name} ended with status {status}: {output}")
        made.append(columns(run))
    draws, mirrored = made
    number = numpy.arange(len(draws["sample"]))
    check(len(number) == len(mirrored["sample"]) > 1000, f"{len(number)} rows")
    for found, flip, replicate in ((draws, 0 * number, number % 4), (mirrored, number % 4 // 2, number % 2)):
        check(numpy.array_equal(found["sample"], number // 4), "four rows a sample")
        check(numpy.array_equal(found["flip"], flip) and numpy.array_equal(found["replicate"], replicate), "numbering")
        values = found["noise"].astype("f4").reshape(len(number) // 4, 4, -1)
        check(all((values[:, i] != values[:, j]).any(1).all() for i in range(4) for j in range(i)), "equal noise of two rows")
    plain = number % 4 < 2
    check(numpy.array_equal(draws["image"][plain], mirrored["image"][plain]), "images that are not mirrored")
    check(numpy.array_equal(draws["image"][~plain], mirrored["image"][~plain][..., ::-1]), "mirrored images")
    # float16 rounds to 2^-11 of a value.
    close = numpy.isclose(draws["noise"].astype("f4"), mirrored["noise"].astype("f4"), rtol=2e-3, atol=2e-3).reshape(len(number), -1).all(1)
    check(close[plain].all(), "rows of equal image and number have other noise")
    check(not close[~plain].any(), "the noise of a mirrored image is that of the image")


def refusals(base, arguments):
    cases = (
        (("couple", "--couple.shards", "5-2"), "expected the numbers of the first and the last shard"),
        (("couple", "--couple.shards", "all"), "expected the numbers of the first and the last shard"),
        (("couple", "--couple.shards", "0-900"), "there are shards 0 to"),
        (("couple", "--couple.shards", "0-3", "--couple.finish"), "exclude each other"),
        (("teacher", "--couple.shards", "0-3"), "belong to one table"),
    )
    run = Run(arguments, "refusals", base)
    for words, expected in cases:
        status, output = run.wait(run.start(*words))
        check(status == 2 and expected in output, f"{words}: status {status}: {output}")
    check(not run.shards(), "a refused job made shards")


def damage(plain, arguments):
    """One damaged byte: verify names the shard, repair drops it, the same command makes it again and no other."""
    run = Run(arguments, "damage", plain)
    table, whole = run.table / "train", plain.table / "train"
    name = sorted(path.name for path in table.glob("shard-*.h5"))[7]
    path = table / name
    with h5py.File(path) as shard:
        at = shard["noise"].id.get_offset() + 12345
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)
    check(run.command("verify", str(whole))[0] == 0, "an undamaged table is not sound")
    status, output = run.command("verify", str(table))
    named = [line for line in output.splitlines() if line.startswith("shard-")]
    check(status == 1 and len(named) == 1 and named[0].startswith(name) and "'noise'" in named[0], f"verify: status {status}: {output}")
    before = {other: file.stat().st_ino for other, file in run.shards().items()}
    lock = run.table / "lock"
    lock.unlink()
    status, output = run.command("repair", "--dry-run", str(table))
    check(status == 0 and name in output and path.exists(), f"repair --dry-run: status {status}: {output}")
    check(not lock.exists(), "repair --dry-run has written")
    status, output = run.command("repair", str(table))
    check(status == 0 and name in output and not path.exists(), f"repair: status {status}: {output}")
    status, output = run.couple()
    check(status == 0, f"couple after repair: status {status}: {output}")
    made = [other for other, file in run.shards().items() if file.stat().st_ino != before[other]]
    check(set(made) <= {f"train/{name}"}, f"repair of {name} made {made} again")
    compare(run, plain)
    status, output = run.command("verify", str(table), "--against", str(whole))
    check(status == 0 and "0 rows differ" in output, f"verify --against: status {status}: {output}")


def clean(plain, arguments):
    """Checkpoints of complete stages go, the rest stays and the run still counts as complete."""
    run = Run(arguments, "clean", plain)
    checkpoints = run.directory / "teacher" / "checkpoints"
    check(checkpoints.exists(), "the teacher left no checkpoints to clean")
    status, output = run.command("clean", "--dry-run", str(run.directory))
    check(status == 0 and str(checkpoints) in output and checkpoints.exists(), f"clean --dry-run: status {status}: {output}")
    status, output = run.command("clean", str(run.directory))
    check(status == 0 and not checkpoints.exists(), f"clean: status {status}: {output}")
    status, output = run.couple()
    check(status == 0 and "skipped" in output, f"couple after clean: status {status}: {output}")
    compare(run, plain)


def kills(base, plain, arguments):
    """Kills of a stage on two ranks, a third of them inside a publication; each is followed by the same command."""
    rng = random.Random(arguments.seed)
    run = Run(arguments, "kills", base)
    names = [path.name for path in (plain.table / "train").glob("shard-*.h5")]
    start = time.monotonic()
    status, output = run.couple(ranks=2)
    seconds = time.monotonic() - start
    check(status == 0, f"couple on two ranks ended with status {status}: {output}")
    compare(run, plain)
    run.clear()
    done = inside = 0
    while done < arguments.kills:
        missing = [name for name in names if not (run.table / "train" / name).exists()] + ["manifest.json"]
        if done % 3 == 0:
            # One of the next few, so that there is something to do for the other kills.
            where = f"{rng.choice(missing[: 6])}:{rng.choice(POINTS)}"
            status, output = run.couple(ranks=2, kill=where)
            hit = "killed as COUPLET_TEST_KILL_IN_PUBLISH asks" in output
            check(hit == (status != 0), f"{where}: status {status}: {output}")
            inside += hit
        else:
            job = run.start("couple", ranks=2)
            moment = rng.uniform(0.3, 1) * seconds
            where = f"after {moment:.2f} s"
            try:
                job.wait(moment)
            except subprocess.TimeoutExpired:
                pass
            hit = job.poll() is None
            kill_tree(job)
            run.wait(job)
        whole = check_shards(run, plain)
        if hit:
            done += 1
            print(f"kill {done}: {where}; {whole} shards under their final names, all right", flush=True)
        else:  # it had ended: begin anew
            compare(run, plain)
            run.clear()
    status, output = run.couple(ranks=2)
    check(status == 0, f"couple after {done} kills ended with status {status}: {output}")
    compare(run, plain)
    check(not list(run.table.rglob(".partial-*")), "temporary files are left")
    check(inside >= 0.3 * done, f"only {inside} of {done} kills came inside a publication")
    print(f"{done} kills, {inside} of them inside a publication: the same table", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first, removed on success")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    base = Run(arguments, "base")
    plain = Run(arguments, "plain", base)
    status, output = plain.couple()
    check(status == 0, f"couple ended with status {status}: {output}")
    for case, inputs in ((refusals, (base,)), (variants, (base,)), (parts, (base, plain)), (finish, (base, plain)), (damage, (plain,)), (clean, (plain,)), (kills, (base, plain))):
        start = time.monotonic()
        case(*inputs, arguments)
        print(f"{case.__name__}: {time.monotonic() - start:.0f} s", flush=True)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
