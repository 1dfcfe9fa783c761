#!/usr/bin/env python3
"""Weights by torch.save: teacher.init and student.init take from every form of a state dict the bytes that they take from safetensors. Files of
other forms are refused in one line that says what to do, and nothing that they hold is run."""

import argparse
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "peers")]
import peer_python  # noqa: E402
from program import Program, check  # noqa: E402

TINY = {"prepare.train-rows": 96, "prepare.test-rows": 24, "prepare.shard-rows": 48, "prepare.block-rows": 24, "teacher.images": 24, "teacher.batch": 24,
        "teacher.validate-rows": 24, "teacher.preview-every": 0, "student.compare": "nf independent", "student.images": 24, "student.batch": 24,
        "student.validate-rows": 24, "student.preview-every": 0, "student.window-blocks": 4, "pipeline.device": "cpu", "pipeline.threads": 1}
AS_IT_IS = {"student.learning-rate": 0, "student.final-learning-rate": 0}
ACCEPTED = ["ordered.pth", "parameters.pth", "transposed.pth", "shared.pth", "double.pth", "no-checksums.pth", "no-extension"]
REFUSED = {
    "checkpoint.pth": (2, ['a dict of "ema", "step"', 'tensors in "ema"', 'weights_only=True)["ema"], "weights.pth")']),
    "old.pth": (2, ["before version 1.6", 'torch.save(torch.load("old.pth"']),
    "program.pt": (2, ["is a TorchScript program", ".state_dict()"]),
    "quantised.pth": (2, ["torch._utils._rebuild_qtensor", "quantised"]),
    "module.pth": (2, ["torch.nn.modules.linear.Linear", "torch.save(model.state_dict(), FILE)"]),
    "command.pth": (2, ["posix.system", "nothing that a file names is run"]),
    "bool.pth": (2, ['tensor "var"', "torch.BoolStorage"]),
    "expanded.pth": (2, ['tensor "var"', "contiguous()"]),
    "protocol.pth": (2, ["pickle of protocol 4"]),
    "diverged.pth": (2, ["NaN", "var"]),
    "wrapped.pth": (1, ["every name begins with 'module.'"]),
    "cut.pth": (1, ["is cut short"]),
}
# Made by PyTorch in the folder it is started in, of a plain dict that `couplet export` wrote.
MAKE_FILES = """
import collections, os, sys, torch
from torch.utils.serialization import config
tensors = torch.load("teacher.pt", weights_only=True)
state = collections.OrderedDict(tensors)
state._metadata = collections.OrderedDict({"": {"version": 1}, "blocks": {"version": 2}})
torch.save(state, "ordered.pth")
torch.save(state, "no-extension")
torch.save({name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}, "parameters.pth")
transposed = {name: tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
assert not all(tensor.is_contiguous() for tensor in transposed.values())
torch.save(transposed, "transposed.pth")
flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
parts = flat.split([tensor.numel() for tensor in tensors.values()])
torch.save({name: part.view(tensor.shape) for part, (name, tensor) in zip(parts, tensors.items())}, "shared.pth")
torch.save({name: tensor.double() for name, tensor in tensors.items()}, "double.pth")
config.save.compute_crc32 = False
torch.save(state, "no-checksums.pth")
config.save.compute_crc32 = True

class Command:
    def __reduce__(self):
        return os.system, ("touch " + os.path.abspath("RUN"),)

torch.save({"ema": state, "step": 3}, "checkpoint.pth")
torch.save(state, "old.pth", _use_new_zipfile_serialization=False)
torch.save(state, "protocol.pth", pickle_protocol=4)
torch.jit.script(torch.nn.Linear(2, 2)).save("program.pt")
torch.save(torch.nn.Linear(2, 2), "module.pth")
torch.save({**tensors, "command": Command()}, "command.pth")
torch.save({**tensors, "var": torch.quantize_per_tensor(tensors["var"], 0.1, 0, torch.qint8)}, "quantised.pth")
torch.save({**tensors, "var": tensors["var"].bool()}, "bool.pth")
torch.save({**tensors, "var": torch.ones(1, 1).expand(tensors["var"].shape)}, "expanded.pth")
torch.save({**tensors, "var": tensors["var"] * float("nan")}, "diverged.pth")
torch.save({"module." + name: tensor for name, tensor in tensors.items()}, "wrapped.pth")
open("cut.pth", "wb").write(open("ordered.pth", "rb").read()[:-100])
"""


def tensors_of(path):
    """Names, types and places of a safetensors file's tensors, and their bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return header, data[8 + length:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program = Program(arguments.couplet)
    run, files = work / "run", work / "files"
    files.mkdir()

    def stage(name, directory, changes=()):
        words = (word for key, value in {**TINY, **dict(changes)}.items() for word in (f"--{key}", value))
        return ("stage", name, "--run-dir", directory, "--config", arguments.config, *words)

    for name in ("prepare", "teacher", "student/independent-0"):
        program.works(*stage(name, run))
    for model in ("teacher", "independent-0"):
        for suffix in (".pt", ".safetensors"):
            program.works("export", "--run-dir", run, "--model", model, "--output", files / (model + suffix))
    python, environment = peer_python.find(arguments.torch, arguments.compiler, work / "cuda")
    subprocess.run([python, "-c", MAKE_FILES], env=environment, cwd=files, check=True, timeout=200)

    def new_run(name):
        shutil.copytree(run / "prepare", work / name / "prepare")
        return work / name

    trained = tensors_of(run / "teacher/ema.safetensors")
    for name in ["teacher.safetensors", "teacher.pt", *ACCEPTED]:
        other = new_run(name)
        program.works(*stage("teacher", other, {"teacher.images": 0, "teacher.init": files / name}))
        check(tensors_of(other / "teacher/weights.safetensors") == trained, f"{name}: the teacher has other weights")
    started = []
    for suffix in (".safetensors", ".pt"):
        other = new_run("student" + suffix)
        program.works(*stage("student/independent-0", other, {**AS_IT_IS, "student.init": files / ("independent-0" + suffix)}))
        started.append(tensors_of(other / "student/independent-0/weights.safetensors"))
    check(started[0] == started[1], "a student has other weights of a .pt file than of safetensors")
    check(started[0] != tensors_of(run / "student/independent-0/weights.safetensors"), "the student does not start from the file")

    other = new_run("refused")
    for name, (status, parts) in REFUSED.items():
        program.refuses(status, [name, *parts], *stage("teacher", other, {"teacher.init": files / name}))
    # A run looks at such a file before it does anything.
    (files / "text").write_text("no weights at all")
    for key in ("teacher.init", "student.init"):
        words = (word for pair in {**TINY, key: files / "text"}.items() for word in (f"--{pair[0]}", pair[1]))
        program.refuses(2, [key, "text", "no safetensors file"], "run", "--run-dir", work / "none", "--config", arguments.config, *words)
    check(not (work / "none/prepare").exists(), "a run began before it looked at its weights")
    check(not (files / "RUN").exists(), "a command of a file was run")
    print("passed")


if __name__ == "__main__":
    main()
