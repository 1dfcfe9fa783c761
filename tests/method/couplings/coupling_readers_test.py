#!/usr/bin/env python3
"""The readers printed in README.md, which import the package in python/, and in docs/coupling-table.md, run as they stand there on a table
whose values are known.

Also: h5ls and h5dump on every shard, the specification's lists of data sets against what shards hold, and the noise that
its program makes of ids.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))
import torch_without_cuda  # noqa: E402

ROWS, SHARD_ROWS, SIGMA, SHAPE = 80, 32, 2.5, (2, 4, 4)


def expected(row):
    """(z, x, label, sample) of a row, from the functions that write_coupling_table.cpp states."""
    position = numpy.arange(row * 32, (row + 1) * 32).reshape(SHAPE)
    return (position * 7 % 97 - 48) / 16 / SIGMA, (position * 5 % 256) / 127.5 - 1, row % 10, row // 2


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def code_block(page, mark, most_lines):
    """The one Python block of a page that holds `mark`."""
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if mark in block]
    if len(blocks) != 1:
        fail(f"{page} has {len(blocks)} Python blocks with {mark}, expected one")
    if blocks[0].count("\n") > most_lines:
        fail(f"the block of {page} has {blocks[0].count(chr(10))} lines, promised are {most_lines}")
    return blocks[0]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=100, **more)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def check_pair_program(arguments, table):
    program = arguments.work / "read_pair.py"
    program.write_text(code_block(arguments.source / "docs/coupling-table.md", "manifest.json", 15))
    output = arguments.work / "pair.npz"
    for row in (0, 1, SHARD_ROWS - 1, SHARD_ROWS, ROWS - 1):
        run(sys.executable, program, table, row, output)
        pair = numpy.load(output)
        for name, value in zip(("z", "x", "label", "sample"), expected(row)):
            numpy.testing.assert_allclose(pair[name], value, rtol=0, atol=1e-6, err_msg=f"{name} of row {row}")
    for wrong in ((table, ROWS), (arguments.work, 0)):
        if subprocess.run([sys.executable, program, *map(str, wrong), output], capture_output=True).returncode == 0:
            fail(f"the pair program found a row {wrong[1]} in {wrong[0]}")


TRAINING = """
import sys, numpy, torch
from couplet_table.torch import CouplingDataset
from coupling_readers_test import ROWS, SHAPE, expected

def check_all(rows):
    seen = []
    for z, x, label in rows:
        row = next(r for r in range(ROWS) if abs(expected(r)[0] - z.numpy()).max() < 1e-6)
        assert z.dtype == x.dtype == torch.float32 and z.shape == x.shape == SHAPE, (z.dtype, x.dtype, z.shape)
        assert abs(expected(row)[1] - x.numpy()).max() < 1e-6 and label == expected(row)[2], row
        seen.append(row)
    return seen

def train(couplings):
    # A linear model in PyTorch from the table, and the same in numpy from the known values.
    model = torch.nn.Linear(32, 32, bias=False)
    torch.nn.init.zeros_(model.weight)
    weight, losses = numpy.zeros((32, 32)), []
    loader = torch.utils.data.DataLoader(couplings, batch_size=16, num_workers=2, shuffle=True)
    for z, x, label in loader:
        loss = (model(z.flatten(1)) - x.flatten(1)).square().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            model.weight -= 0.5 * model.weight.grad
        known = [expected(r) for at in z for r in range(ROWS) if abs(expected(r)[0] - at.numpy()).max() < 1e-6]
        a, b = (numpy.stack([pair[k].ravel() for pair in known]) for k in (0, 1))
        error = a @ weight.T - b
        losses.append((loss.item(), (error ** 2).mean()))
        weight -= 0.5 * 2 * error.T @ a / error.size
    numpy.testing.assert_allclose(*zip(*losses), rtol=1e-4)
    numpy.testing.assert_allclose(model.weight.detach().numpy(), weight, atol=1e-5)
    assert len(losses) == 5 and abs(weight).max() > 0.01

if __name__ == "__main__":
    couplings = CouplingDataset(sys.argv[1])
    assert len(couplings) == ROWS
    assert check_all(couplings[row] for row in range(ROWS)) == list(range(ROWS))
    # This process has files open now; workers of both kinds open their own.
    for context in ("fork", "spawn"):
        loader = torch.utils.data.DataLoader(couplings, batch_size=None, shuffle=True, num_workers=2, multiprocessing_context=context)
        seen = check_all(loader)
        assert sorted(seen) == list(range(ROWS)) and seen != sorted(seen), seen
    train(couplings)
    print("trained with PyTorch", torch.__version__)
"""


# What stands in the loop over the batches of the README's block.
README_BATCHES = """
        for row, at, image, number in zip(batch["row"].tolist(), z, x, label):
            assert abs(expected(row)[0] - at.numpy()).max() < 1e-6 and abs(expected(row)[1] - image.numpy()).max() < 1e-6, row
            assert number == expected(row)[2], row
        seen.setdefault(epoch, []).extend(batch["row"].tolist())
orders = set(map(tuple, seen.values()))
assert len(seen) == len(orders) == 10 and all(sorted(order) == list(range(ROWS)) for order in orders), seen
"""


def check_dataset(arguments, table):
    block = code_block(arguments.source / "README.md", "BlockDataset", 20)
    block = block.replace("runs/smoke/coupling/nf/train", str(table)).replace("batch_rows=256", "batch_rows=16")
    start = "from coupling_readers_test import ROWS, expected\nseen = {}\n"
    (arguments.work / "readme.py").write_text(start + block + README_BATCHES)
    (arguments.work / "train.py").write_text(TRAINING)
    environment = torch_without_cuda.environment(arguments.torch, arguments.compiler, arguments.work / "cuda")
    environment["PYTHONPATH"] += f":{Path(__file__).parent}:{arguments.source / 'python'}"
    run(sys.executable, arguments.work / "readme.py", env=environment)
    print(run(sys.executable, arguments.work / "train.py", table, env=environment), end="")


def check_tools(table):
    for path in sorted(table.glob("*.h5")):
        with h5py.File(path) as shard:
            columns = {name: data for name, data in shard.items() if not name.endswith("checksums")}
            listing, dump = run("h5ls", "-rv", path), run("h5dump", "-H", path)
            for name, data in columns.items():
                extents = ", ".join(f"{n}/{n}" for n in data.shape)
                if not re.search(rf"^/{name} +Dataset {{{re.escape(extents)}}}$", listing, re.MULTILINE):
                    fail(f"h5ls does not list {name} {{{extents}}} of {path}:\n{listing}")
                space = ", ".join(map(str, data.shape))
                if not re.search(rf'DATASET "{name}" {{\s+DATATYPE .*?DATASPACE  SIMPLE {{ \( {space} \)', dump, re.DOTALL):
                    fail(f"h5dump does not show {name} ( {space} ) of {path}:\n{dump}")


def check_specification(text, table):
    """The data sets that a part of the page lists, in its order, against those of a shard."""
    with h5py.File(next(table.glob("shard-00000-*.h5"))) as shard:
        ours = [(name, str(data.dtype), len(data.shape)) for name, data in shard.items() if not name.endswith("checksums")]
    listed = re.findall(r"^\| `(\w+)` \| (\w+)[^|]*\| \[(rows[^\]]*)\] \|", text, re.MULTILINE)
    theirs = [(name, kind, shape.count(",") + 1) for name, kind, shape in listed]
    if sorted(ours) != sorted(theirs):
        fail(f"a shard of {table} holds {sorted(ours)}, the page lists {sorted(theirs)}")


def check_noise_program(page, seeds, noise_file):
    """The noise that the page's program makes of a table's ids, against Couplet's own."""
    program = {}
    exec(code_block(page, "def noise", 25), program)
    seed = json.loads((seeds / "manifest.json").read_text())["provenance"]["seed"]
    with h5py.File(next(seeds.glob("*.h5"))) as shard:
        ids = shard["noise_id"][:].tolist()
    known = numpy.fromfile(noise_file, "float32").reshape(len(ids), *SHAPE)
    made = numpy.stack([program["noise"](seed, noise_id, SHAPE) for noise_id in ids])
    numpy.testing.assert_allclose(made, known, rtol=1e-6, atol=1e-7)


def check_commands(couplet, seeds):
    """What `inspect` and `verify` say of a table of seeds, and of one that gives a noise twice."""
    described = json.loads(run(couplet, "inspect", seeds, "--json"))
    if (described["format"], described["rows"], [c["name"] for c in described["columns"]]) != (
            "couplet-seeds", 3, ["noise_id", "label", "sample", "flip"]):
        fail(f"inspect says {described}")
    if "sound" not in run(couplet, "verify", seeds):
        fail("verify does not call the table of seeds sound")
    twice = subprocess.run([couplet, "verify", f"{seeds}-twice"], capture_output=True, text=True, timeout=100)
    if twice.returncode != 1 or "noise 3 belongs to two rows" not in twice.stdout:
        fail(f"verify of a table that gives a noise twice: status {twice.returncode}\n{twice.stdout}{twice.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writer", required=True, help="the program write_coupling_table")
    parser.add_argument("--couplet", required=True, help="the program")
    parser.add_argument("--source", type=Path, required=True, help="the project's own directory")
    parser.add_argument("--torch", type=Path, required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the table; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    table = arguments.work / "coupling"
    seeds, noise_file = arguments.work / "seeds", arguments.work / "noise"
    run(arguments.writer, table, seeds, noise_file)
    page = arguments.source / "docs/coupling-table.md"
    of_couplings, of_seeds = page.read_text().split("## Tables of seeds")
    for text, directory in ((of_couplings, table), (of_seeds, seeds)):
        check_tools(directory)
        check_specification(text, directory)
    check_noise_program(page, seeds, noise_file)
    check_commands(arguments.couplet, seeds)
    check_pair_program(arguments, table)
    check_dataset(arguments, table)
    print("passed")


if __name__ == "__main__":
    main()
