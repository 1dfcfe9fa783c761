#!/usr/bin/env python3
"""inception_reference.py TORCH_FIDELITY FILE: writes tests/data/inception.safetensors, what torch-fidelity's Inception network makes of random images
with random weights.

TORCH_FIDELITY is a directory that torch-fidelity 0.4.0 was unpacked in (pip install --no-deps --target). Run by a python3 with torch, numpy and safetensors
(tests/peers/peer_python.py). Weights and images are functions of their index, which inception_test.cpp computes again.
"""

import sys
import types
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

IMAGES, SIDE = 16, 299


def mixed(tensor, count):
    """splitmix64 of the numbers tensor · 2^32 + 0 ... count - 1."""
    with numpy.errstate(over="ignore"):
        z = (numpy.uint64(tensor << 32) + numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return z ^ (z >> numpy.uint64(31))


def uniform(tensor, count):
    return (mixed(tensor, count) >> numpy.uint64(40)).astype(numpy.float64) / 2**24


def weights_of(shapes):
    """Scaled so that no layer's output dies out or grows."""
    weights = {}
    for index, name in enumerate(sorted(name for name in shapes if not name.endswith("num_batches_tracked"))):
        u = uniform(index, int(numpy.prod(shapes[name])))
        if len(shapes[name]) > 1:
            u = (2 * u - 1) * numpy.sqrt(6 / numpy.prod(shapes[name][1:]))
        else:
            u = u + (0.5 if name.endswith(("running_var", "bn.weight")) else -0.5)
        weights[name] = torch.from_numpy(u.astype(numpy.float32)).view(shapes[name])
    return weights


def images_of(tensor, *shape):
    pixels = (mixed(tensor, int(numpy.prod(shape))) >> numpy.uint64(56)).astype(numpy.uint8)
    return torch.from_numpy(pixels).view(shape)


def load_network(directory):
    # The package itself would import torchvision and more.
    package = types.ModuleType("torch_fidelity")
    package.__path__ = [str(Path(directory) / "torch_fidelity")]
    sys.modules["torch_fidelity"] = package
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class Network(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, _):
            shapes = {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()}
            return super().load_state_dict(weights_of(shapes), strict=False)

    module.load_state_dict_from_url = lambda *_, **__: None
    return Network("inception", ["2048", "logits_unbiased"], verbose=False), module.interpolate_bilinear_2d_like_tensorflow1x


def main():
    directory, output = sys.argv[1:]
    network, resize = load_network(directory)
    spatial = []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda _, __, out: spatial.append(out[:, :7].permute(0, 2, 3, 1).flatten(1)))
    with torch.no_grad():
        # Of different brightness: noise alone would give features that hardly differ.
        brightness = torch.arange(1, IMAGES + 1, dtype=torch.uint8).view(-1, 1, 1, 1)
        features, logits = network(images_of(1000, IMAGES, 3, 37, 53).div(brightness, rounding_mode="floor"))
        larger = resize(images_of(1001, 1, 3, 37, 53).float(), (SIDE, SIDE), align_corners=False)
        smaller = resize(images_of(1002, 1, 3, 401, 310).float(), (SIDE, SIDE), align_corners=False)
    values = {"features": features, "logits": logits, "spatial": spatial[0][:4], "larger": larger[..., ::13, ::7], "smaller": smaller[..., ::13, ::7]}
    print({name: (tuple(value.shape), float(value.std())) for name, value in values.items()})
    print("between images", float(features.std(0).mean()))
    save_file({name: value.contiguous() for name, value in values.items()}, output)


if __name__ == "__main__":
    main()
