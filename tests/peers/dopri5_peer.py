#!/usr/bin/env python3
"""dopri5_peer.py PEERS DIRECTORY: random fields, and what torchdiffeq takes to solve them.

Writes field-N.pt to DIRECTORY: networks of SiT's and, where there is a checkout, guided-diffusion's U-Net, with random weights of several sizes, traced
with their noise. Prints one JSON object: the field's name and its evaluations at tolerances 1e-3 to 1e-6, for each.
"""

import json
import sys
import warnings
from pathlib import Path

import torch

import references

FIELDS = 20
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6)


class Field(torch.nn.Module):
    """dx/dt in our time of a network of (x, t, labels), its weights moved from those that put out nothing."""

    def __init__(self, network, noise, labels, seed):
        super().__init__()
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.data += torch.randn_like(parameter) * (0.05 + 0.05 * (seed % 4))
        self.network, self.labels = network, labels
        self.register_buffer("noise", noise)

    def forward(self, x, t):
        output = self.network(x, t, self.labels) if self.labels is not None else self.network(x, t)
        return output[:, :x.shape[1]]


def sit_field(peers, seed):
    size, channels = 8 + 4 * (seed % 3), 1 + 2 * (seed % 2)
    network = references.sit(peers).SiT(input_size=size, patch_size=2 + 2 * (seed % 2), in_channels=channels, hidden_size=32 + 32 * (seed % 3),
                                        depth=2 + seed % 3, num_heads=4, num_classes=10, learn_sigma=False)
    torch.manual_seed(1000 + seed)
    return Field(network, torch.randn(4, channels, size, size), torch.arange(4), seed), f"SiT {size}x{size}"


def unet_field(peers, seed):
    sys.path.insert(0, str(Path(peers) / "guided-diffusion"))
    from guided_diffusion import unet

    unet.checkpoint = lambda function, inputs, parameters, flag: function(*inputs)  # its own keeps no gradients here either, and cannot be traced
    size, channels = 8 + 8 * (seed // 2 % 2), 1 + 2 * (seed // 4 % 2)
    network = unet.UNetModel(image_size=size, in_channels=channels, model_channels=32, out_channels=channels, num_res_blocks=1 + seed % 2,
                        attention_resolutions=(2,), channel_mult=(1, 2), num_heads=2, use_scale_shift_norm=bool(seed % 3))
    torch.manual_seed(1000 + seed)
    return Field(network, torch.randn(4, channels, size, size), None, seed), f"U-Net {size}x{size}"


def evaluations(field, tolerance):
    import torchdiffeq

    count = 0

    def counted(t, x):
        nonlocal count
        count += 1
        return field(x, t.expand(len(x)))

    torchdiffeq.odeint(counted, field.noise, torch.tensor([1.0, 0.0]), rtol=tolerance, atol=tolerance, method="dopri5")
    return count


def main():
    peers, directory = sys.argv[1:]
    sys.path.append(str(Path(peers) / "python"))
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    has_unet = (Path(peers) / "guided-diffusion").is_dir()
    found = []
    with torch.no_grad():
        for seed in range(FIELDS):
            field, name = (unet_field if has_unet and seed % 2 else sit_field)(peers, seed)
            field.eval()
            traced = torch.jit.trace(field, (field.noise, torch.full((len(field.noise),), 0.3)), check_trace=False)
            traced.save(str(Path(directory) / f"field-{seed}.pt"))
            found.append({"name": name, "nfe": [evaluations(traced, tolerance) for tolerance in TOLERANCES]})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
