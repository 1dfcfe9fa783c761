#!/usr/bin/env python3
"""Writes FOLDER/adm_unet.safetensors: guided-diffusion's own U-Nets of sizes drawn by SEED, with weights by formula, in the form of the reference data
that tests/method/models/unet_reference_test.cpp reads.

unet_reference.py PEERS FOLDER SEED
"""

import json
import math
import random
import struct
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import references  # noqa: E402

MASK = (1 << 64) - 1
FIXED = [  # two networks with labels; the third restores images
    {"image": 32, "ch_in": 3, "ch_out": 3, "classes": 7, "superres": 0, "new_order": False, "updown": True},
    {"image": 28, "ch_in": 1, "ch_out": 2, "classes": 5, "superres": 0, "new_order": True, "updown": False},
    {"image": 24, "ch_in": 3, "ch_out": 3, "classes": 0, "superres": 2, "new_order": True, "updown": True}]


def formula(name, seed, shape):
    """Uniform in [-1, 1), exact in float32."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 & MASK
    key ^= seed * 0x9E3779B97F4A7C15 & MASK
    with np.errstate(over="ignore"):
        s = np.uint64(key) + np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        s = (s ^ s >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        s = (s ^ s >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        s ^= s >> np.uint64(31)
    return torch.from_numpy(((s >> np.uint64(40)).astype(np.float64) * 2.0 ** -23 - 1).astype(np.float32).reshape(shape))


def weight(name, seed, shape):
    u = formula(name, seed, shape)
    if len(shape) == 1:
        return u / 8 + (1 if name.endswith(".weight") else 0)
    return u * 2.0 ** -math.floor(math.log2(math.prod(shape[1:])) / 2)


def drawn(fixed, draw):
    """Sizes that the network can have: channels divide into 32 groups and into heads, images on the levels."""
    levels = draw.choice([2, 3])
    channels = draw.choice([8, 16, 32])
    mult = [draw.choice([32 // channels, 64 // channels, 96 // channels]) for _ in range(levels)]
    factors = [2 ** i for i in range(levels)]
    batch = draw.choice([1, 2, 3])
    by_width = draw.random() < 0.5
    return fixed | {"model_channels": channels, "mult": mult, "res": draw.choice([1, 2]), "attn_ds": sorted(draw.sample(factors, draw.choice([1, 2]))),
                    "heads": draw.choice([1, 2, 4]), "head_channels": draw.choice([8, 16, 32]) if by_width else -1, "film": draw.random() < 0.5,
                    "conv_resample": draw.random() < 0.7, "batch": batch, "t": [draw.choice([0.25, 41.75, 500.0, 730.5, 999.0]) for _ in range(batch)]}


def instance(unet, tag, c, seed, tensors, metadata):
    superres = c["superres"] > 0
    model = (unet.SuperResModel if superres else unet.UNetModel)(
        image_size=c["image"], in_channels=c["ch_in"], model_channels=c["model_channels"], out_channels=c["ch_out"], num_res_blocks=c["res"],
        attention_resolutions=c["attn_ds"], channel_mult=c["mult"], conv_resample=c["conv_resample"], num_classes=c["classes"] or None, num_heads=c["heads"],
        num_head_channels=c["head_channels"], use_scale_shift_norm=c["film"], resblock_updown=c["updown"], use_new_attention_order=c["new_order"]).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weight(name, seed, tuple(parameter.shape)))
    x = (2 * formula(f"{tag}.x", seed, (c["batch"], c["ch_in"], c["image"], c["image"]))).requires_grad_()
    t = torch.tensor(c["t"])
    extra = {}
    if superres:
        side = c["image"] // c["superres"]
        extra["low_res"] = 2 * formula(f"{tag}.low", seed, (c["batch"], c["ch_in"], side, side))
    if c["classes"]:
        extra["y"] = tensors[f"{tag}.label"] = torch.arange(c["batch"]) * 3 % c["classes"]
    out = model(x, t, **extra)
    loss = out.square().sum() / c["batch"]
    loss.backward()
    names = dict(model.named_parameters())
    tensors |= {f"{tag}.t": t, f"{tag}.out": out.detach(), f"{tag}.x_first": x.detach().flatten()[:8].clone(),
                f"{tag}.grad_x_first_row": x.grad[0, :, 0].clone()}
    looked_at = ["input_blocks.0.0.weight", "input_blocks.1.0.emb_layers.1.bias", "time_embed.0.weight", "out.2.weight", "label_emb.weight",
                 "middle_block.1.proj_out.bias"]
    tensors |= {f"{tag}.grad.{name}": names[name].grad for name in looked_at if name in names}
    sums = {name: names[name].detach().double().sum().item() for name in looked_at[:3]}
    metadata[tag] = json.dumps({"config": c | {"tag": tag}, "loss": loss.item(), "parameters": sum(p.numel() for p in names.values()), "checksum": sums})
    metadata[f"{tag}.names"] = json.dumps({name: list(p.shape) for name, p in names.items()})


def write(path, tensors, metadata):
    head, blobs, offset = {"__metadata__": metadata}, [], 0
    for name, tensor in sorted(tensors.items()):
        data = tensor.contiguous().numpy().tobytes()
        head[name] = {"dtype": {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype], "shape": list(tensor.shape),
                      "data_offsets": [offset, offset + len(data)]}
        blobs.append(data)
        offset += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def main():
    peers, folder, seed = sys.argv[1:]
    draw, unet = random.Random(int(seed)), references.guided_diffusion(peers)
    tensors, metadata = {}, {"seed": seed, "kind": "ADM U-Net, weights by formula"}
    for tag, fixed in zip("abc", FIXED):
        config = drawn(fixed, draw)
        print(tag, json.dumps(config), flush=True)
        instance(unet, tag, config, int(seed), tensors, metadata)
    write(Path(folder) / "adm_unet.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
