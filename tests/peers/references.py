"""The published implementations of our models, unmodified, from their checkouts; for a Python with torch."""

import importlib.util
import json
import math
import struct
import sys
import types
from pathlib import Path

import torch
from torch import nn


if importlib.util.find_spec("sympy") is None:
    # torch.optim marks functions as "not for the compiler", whose module needs sympy: the marks alone do without.
    torch._dynamo = types.SimpleNamespace(disable=lambda function, *_, **__: function, graph_break=lambda: None)
    sys.modules["torch._dynamo"] = torch._dynamo


def tarflow(peers):
    """apple/ml-tarflow: its module transformer_flow."""
    sys.path.insert(0, str(Path(peers) / "ml-tarflow"))
    import transformer_flow

    return transformer_flow


def sit(peers):
    """willisma/SiT: its module models. Of timm it takes three classes, which are stood in for where there is no timm."""
    try:
        import timm.models.vision_transformer  # noqa: F401
    except ImportError:
        vision = types.SimpleNamespace(PatchEmbed=PatchEmbed, Attention=Attention, Mlp=Mlp)
        models = types.SimpleNamespace(vision_transformer=vision)
        sys.modules.update({"timm": types.SimpleNamespace(models=models), "timm.models": models,
                            "timm.models.vision_transformer": vision})
    sys.path.insert(0, str(Path(peers) / "SiT"))
    import models

    return models


def guided_diffusion(peers):
    """openai/guided-diffusion: its module unet, which computes attention once: its own checkpoint, always on there, would do it twice a step
    (and needs sympy). The values are the same, and it is faster for it."""
    sys.path.insert(0, str(Path(peers) / "guided-diffusion"))
    from guided_diffusion import unet

    unet.checkpoint = lambda function, inputs, _parameters, _flag: function(*inputs)
    return unet


class PatchEmbed(nn.Module):
    """As timm's: one convolution, tokens in reading order."""

    def __init__(self, img_size, patch_size, in_chans, embed_dim, bias=True):
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size, bias=bias)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """As timm's, by scaled_dot_product_attention."""

    def __init__(self, dim, num_heads, qkv_bias):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        rows, tokens, channels = x.shape
        parts = self.qkv(x).reshape(rows, tokens, 3, self.num_heads, channels // self.num_heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.proj(mixed.transpose(1, 2).reshape(rows, tokens, channels))


class Mlp(nn.Module):
    def __init__(self, in_features, hidden_features, act_layer, drop):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def read_safetensors(path):
    """({name: tensor}, metadata) of a file of float32 and int64 tensors."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8:8 + length]), bytearray(data[8 + length:])
    types_ = {"F32": torch.float32, "I64": torch.int64}
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(body[begin:end], dtype=types_[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"]) if math.prod(entry["shape"]) else flat
    return tensors, metadata
