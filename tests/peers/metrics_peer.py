#!/usr/bin/env python3
"""metrics_peer.py PACKAGES make FOLDER: a TorchScript program and two sets of images; metrics_peer.py PACKAGES score FOLDER: what torch-fidelity and
prdc say of the features that it gives of them, as JSON."""

import contextlib
import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

ROWS = {"samples": 700, "reference": 900}


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.matrix = torch.nn.Parameter(torch.randn(64, 24) / 8)
        self.classes = torch.nn.Parameter(torch.randn(24, 10))

    def forward(self, images):
        features = torch.tanh((images.float() / 64 - 2).flatten(1).matmul(self.matrix)) * 3
        return {"features": features, "logits": features.matmul(self.classes)}


class StandIn(types.ModuleType):
    """torch-fidelity imports torchvision and PIL, which read images; here it is given features."""
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def make(folder):
    torch.jit.script(Network()).save(folder / "network.pt")
    torch.manual_seed(1)
    for spread, (name, rows) in zip((40, 55), ROWS.items()):
        images = (torch.randn(rows, 8, 8, 1) * spread + 120).round().clamp(0, 255).to(torch.uint8)
        np.savez(folder / f"{name}.npz", images.numpy())


def described(folder, name):
    with np.load(folder / f"{name}.npz") as file:
        images = torch.from_numpy(file["arr_0"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        made = torch.jit.load(folder / "network.pt")(images)
    # In float64 from here on, as ours.
    return made["features"].double(), made["logits"].double()


def stand_in():
    for name in ("PIL", "PIL.Image", "torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional",
                 "torchvision.models"):
        parent, _, child = name.rpartition(".")
        sys.modules[name] = StandIn(name)
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])


def score(folder):
    stand_in()
    import prdc
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
    (samples, logits), (reference, _) = (described(folder, name) for name in ROWS)
    statistics = [metric_fid.fid_features_to_statistics(features) for features in (samples, reference)]
    kernel = metric_kid.kid_features_to_metric(samples, reference, kid_subsets=100, kid_subset_size=ROWS["samples"], kid_kernel="poly", kid_degree=3,
                                               rng_seed=2020, verbose=False)
    precision = metric_prc.prc_features_to_metric(samples, reference, prc_neighborhood=3, prc_batch_size=10000, save_cpu_ram=False, verbose=False)
    inception = metric_isc.isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=2020)
    dense = prdc.compute_prdc(reference.numpy(), samples.numpy(), nearest_k=5)
    return {"frechet_distance": metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"],
            "subset_mean": kernel["kernel_inception_distance_mean"], "subset_sd": kernel["kernel_inception_distance_std"],
            "inception_score": inception["inception_score_mean"], "split_sd": inception["inception_score_std"],
            "precision": precision["precision"], "recall": precision["recall"], "density": dense["density"], "coverage": dense["coverage"]}


def main():
    packages, task, folder = sys.argv[1:]
    sys.path.append(packages)
    if task == "make":
        return make(Path(folder))
    with contextlib.redirect_stdout(io.StringIO()):
        figures = score(Path(folder))
    print(json.dumps({name: float(value) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
