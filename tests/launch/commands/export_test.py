#!/usr/bin/env python3
"""couplet export on a tiny run: files that numpy and torch.load read, what stands in them, what is refused."""

import argparse
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "peers")]
import peer_python  # noqa: E402
from program import Program, check  # noqa: E402

TINY = {"prepare.train-rows": 200, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "teacher.images": 240, "teacher.batch": 24, "couple.shard-rows": 150, "couple.block-rows": 50,
        "couple.slice-rows": 50, "student.images": 240, "student.batch": 24, "student.learning-rate": 1e-2,
        "student.window-blocks": 4, "pipeline.device": "cpu", "student.compare": "nf independent net points",
        "student.net.coupling": "independent", "student.net.network": "unet", "student.net.channels": 32,
        "student.net.multipliers": "1 2", "student.net.blocks": 1, "student.net.heads": 2, "student.net.time-scale": 1,
        "student.points.coupling": "independent", "student.points.network": "mlp", "student.points.depth": 2}

TORCH_LOAD = """
import sys, numpy, torch
tensors = torch.load(sys.argv[1], weights_only=True)
assert type(tensors) is dict, type(tensors)
assert all(type(name) is str and type(tensor) is torch.Tensor for name, tensor in tensors.items())
numpy.savez(sys.argv[2], **{name: tensor.numpy() for name, tensor in tensors.items()})
"""


def read(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    metadata = header.pop("__metadata__", {})
    tensors = {name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
               for name, entry in header.items() if entry["dtype"] == "F32"}
    check(len(tensors) == len(header), f"{path}: a tensor is not float32")
    return tensors, metadata


def check_teacher(found, own):
    check({name for name in found if name not in own} == {f"blocks.{i}.attn_mask" for i in range(2)}, "the masks")
    for name, tensor in found.items():
        expected = own[name] if name in own else np.tril(np.ones((49, 49), "f4"))
        check(np.array_equal(tensor, expected), f"{name} of the teacher")


def check_student(found, own):
    """exported(x, 1 - t) = -ours(x, t): the last layer's sign, and cos and sin of w (1 - t) through those of w t."""
    check(sorted(found) == sorted(own), "names of the student's tensors")
    turned = {"t_embedder.mlp.0.weight", "final_layer.linear.weight", "final_layer.linear.bias"}
    for name in set(own) - turned:
        check(np.array_equal(found[name], own[name]), f"{name} of the student")
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        check(np.array_equal(found[name], -own[name]), name)
    check(np.abs(own["final_layer.linear.weight"]).max() > 1e-3, "the student is trained")
    w = np.exp(-np.log(10000) * np.arange(128) / 128)
    for t in (0.0, 0.3, 1.0):
        there = found["t_embedder.mlp.0.weight"] @ np.concatenate([np.cos(w * (1 - t)), np.sin(w * (1 - t))])
        here = own["t_embedder.mlp.0.weight"] @ np.concatenate([np.cos(w * t), np.sin(w * t)])
        check(np.abs(there - here).max() < 1e-5, f"the embedding of t = {t}: {np.abs(there - here).max()}")


def check_unet(found, own):
    """As they are, by guided-diffusion's names."""
    check(sorted(found) == sorted(own), "names of the U-Net's tensors")
    for name in own:
        check(np.array_equal(found[name], own[name]), f"{name} of the U-Net")
    check(found["label_emb.weight"].shape == (11, 128), "ten classes and none")
    check(found["input_blocks.3.0.emb_layers.1.weight"].shape == (128, 128), "scale and shift of the second level")
    check(np.abs(own["out.2.weight"]).max() > 1e-3, "the U-Net is trained")


CHECKS = {"teacher": (check_teacher, "transformer_flow.Model(in_channels=1, img_size=28, patch_size=4, channels=64, "
                                     "num_blocks=2, layers_per_block=1, nvp=True, num_classes=10)"),
          "nf-0": (check_student, "models.SiT(input_size=28, patch_size=4, in_channels=1, hidden_size=48, depth=2, "
                                  "num_heads=3, num_classes=10, learn_sigma=False)"),
          "net-0": (check_unet, "unet.UNetModel(image_size=28, in_channels=1, model_channels=32, out_channels=1, "
                                "num_res_blocks=1, attention_resolutions=[2], dropout=0, channel_mult=(1, 2,), "
                                "num_classes=11, num_heads=2, num_head_channels=-1, use_scale_shift_norm=True, "
                                "resblock_updown=True, use_new_attention_order=False)")}


def check_model(program, run, model, torch_load):
    check_tensors, construct = CHECKS[model]
    stage = run / ("teacher" if model == "teacher" else f"student/{model}")
    for raw in (False, True):
        own, _ = read(stage / ("weights.safetensors" if raw else "ema.safetensors"))
        path = run / f"{model}-{raw}.safetensors"
        words = ("export", "--run-dir", run, "--model", model, *(["--ema", 0] if raw else []), "--output")
        output = program.works(*words, path)
        found, metadata = read(path)
        check_tensors(found, own)
        check(construct in output, f"{construct} in {output}")
        check(metadata["construct"] == construct, f"metadata {metadata}")
        check(model != "net-0" or metadata["time"].startswith("timesteps = 1 t"), f"metadata {metadata}")
        check(metadata["weights"].startswith("raw" if raw else "EMA of rate 0.9"), f"metadata {metadata}")
        pickle = run / f"{model}-{raw}.pt"
        program.works(*words, pickle)
        loaded = torch_load(pickle)
        check(sorted(loaded) == sorted(found), "names that torch.load finds")
        for name, tensor in found.items():
            check(np.array_equal(loaded[name], tensor), f"{name} through torch.load")
        check(json.loads(Path(f"{pickle}.json").read_text()) == metadata, "the facts beside the .pt file")


def check_refusals(program, run):
    export = ("export", "--run-dir", run, "--model")
    there = run / "teacher-True.safetensors"
    before = there.read_bytes()
    program.refuses(2, ["exists and is not overwritten"], *export, "teacher", "--output", there)
    check(there.read_bytes() == before, "the file that was there")
    (run / "half.pt.json").write_text("")
    program.refuses(2, ["half.pt.json exists"], *export, "teacher", "--output", run / "half.pt")
    program.refuses(2, [".safetensors or .pt"], *export, "teacher", "--output", run / "teacher.bin")
    program.refuses(2, ["no trained model 'nf-7'", "there are teacher, nf-0"], *export, "nf-7", "--output", run / "x.pt")
    program.refuses(2, ["student.network = mlp", "willisma/SiT", "openai/guided-diffusion"], *export, "points-0",
                    "--output", run / "x.pt")
    program.refuses(2, ["student/independent-0 is not complete", "there are teacher, nf-0"], *export, "independent-0",
                    "--output", run / "x.pt")
    program.refuses(2, ["no config.ini"], "export", "--run-dir", run / "teacher", "--model", "teacher", "--output", run / "x.pt")
    program.refuses(2, ["needs --model"], "export", "--run-dir", run, "--output", run / "x.pt")
    check(not (run / "x.pt").exists() and not (run / "half.pt").exists(), "nothing was written")


def check_head_size(program, config, run):
    """A teacher that ml-tarflow would load, and compute another map with."""
    keys = [str(word) for key, value in {**TINY, "teacher.head-size": 32}.items() for word in (f"--{key}", value)]
    for stage in ("prepare", "teacher"):
        program.works("stage", stage, "--run-dir", run, "--config", config, *keys)
    program.refuses(2, ["teacher.head-size = 32"], "export", "--run-dir", run, "--model", "teacher", "--output", run / "x.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    program, run = Program(arguments.couplet), arguments.work / "run"
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")

    def torch_load(path):
        arrays = path.with_suffix(".npz")
        done = subprocess.run([python, "-c", TORCH_LOAD, path, arrays], capture_output=True, text=True, env=environment)
        check(done.returncode == 0, f"torch.load of {path}: {done.stderr}")
        return np.load(arrays)

    keys = [str(word) for key, value in TINY.items() for word in (f"--{key}", value)]
    for stage in ("prepare", "teacher", "couple", "student/nf-0", "student/net-0", "student/points-0"):
        program.works("stage", stage, "--run-dir", run, "--config", arguments.config, *keys)
    for model in CHECKS:
        check_model(program, run, model, torch_load)
    check_refusals(program, run)
    check_head_size(program, arguments.config, arguments.work / "narrow")
    print("passed")


if __name__ == "__main__":
    main()
