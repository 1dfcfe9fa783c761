#!/usr/bin/env python3
"""A training checkpoint as PyTorch users read it: every file of it by safetensors.torch.load_file, compared with a reading of its bytes by hand.

What the format is stands in https://github.com/huggingface/safetensors: eight bytes of length, a JSON header, the tensors' bytes.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))
import torch_without_cuda  # noqa: E402

FILES = {"weights.safetensors", "ema.safetensors", "ema-0.5.safetensors", "optimizer.safetensors"}
READER = """
import sys, numpy, safetensors.torch
for path in sys.argv[1:]:
    tensors = safetensors.torch.load_file(path)
    numpy.savez(path + ".npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
"""


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def read_by_hand(path):
    bytes_ = path.read_bytes()
    (length,) = struct.unpack("<Q", bytes_[:8])
    header = json.loads(bytes_[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            fail(f"{path}: {name} is {entry['dtype']}")
        first, last = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(bytes_[first:last], "<f4").reshape(entry["shape"])
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--process", required=True, help="the program training_process")
    parser.add_argument("--torch", type=Path, required=True, help="directory that holds torch/")
    parser.add_argument("--tools", type=Path, required=True, help="directory that holds safetensors/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the training; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)

    status = subprocess.run([arguments.process, arguments.work, "steps=24", "stop-at=15"], timeout=100).returncode
    if status != 75:
        fail(f"the training ended with status {status}")
    checkpoint = arguments.work / "checkpoints" / (arguments.work / "checkpoints/latest").read_text().strip()
    if {path.name for path in checkpoint.glob("*.safetensors")} != FILES:
        fail(f"{checkpoint} holds {sorted(path.name for path in checkpoint.iterdir())}")

    environment = torch_without_cuda.environment(arguments.torch, arguments.compiler, arguments.work / "stand_ins")
    environment["PYTHONPATH"] += os.pathsep + str(arguments.tools)
    paths = sorted(checkpoint / name for name in FILES)
    subprocess.run([sys.executable, "-c", READER, *map(str, paths)], env=environment, check=True, timeout=100)
    read = {}
    for path in paths:
        expected, found = read_by_hand(path), dict(numpy.load(f"{path}.npz"))
        if expected.keys() != found.keys() or not expected:
            fail(f"{path.name}: names differ: {sorted(expected.keys() ^ found.keys())}")
        for name, value in expected.items():
            if found[name].shape != value.shape or found[name].tobytes() != value.tobytes():
                fail(f"{path.name}: {name} differs")
        read[path.name] = found

    # The names are the parameters', and the files are of one training: each has what the others lack.
    weights, ema, optimizer = (read[f"{name}.safetensors"] for name in ("weights", "ema", "optimizer"))
    if set(weights) != set(ema) or "enter.weight" not in weights or weights["enter.weight"].shape != (192, 6):
        fail(f"weights are {sorted(weights)}")
    trained = set(weights) - {"spread"}
    if set(optimizer) != {name + suffix for name in trained for suffix in (".exp_avg", ".exp_avg_sq")}:
        fail(f"the optimizer's state is {sorted(optimizer)}")
    for name in trained:
        if (weights[name] == ema[name]).all() or (ema[name] == read["ema-0.5.safetensors"][name]).all():
            fail(f"{name}: weights and averages are the same")
        if not (optimizer[name + ".exp_avg_sq"] >= 0).all() or not optimizer[name + ".exp_avg"].any():
            fail(f"{name}: no state of an optimizer")
    print("passed")


if __name__ == "__main__":
    main()
