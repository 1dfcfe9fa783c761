#!/usr/bin/env python3
"""The PyTorch side of bench/training.cpp: the unmodified reference (apple/ml-tarflow, willisma/SiT, openai/guided-diffusion), or the
built-in classifier as PyTorch has it, in an ordinary training loop.

training_peer.py PEERS teacher|student|unet|features SIZES THREADS TOOLS. Reads lines `float32|bfloat16 eager|compiled STEPS`, trains so
many steps and answers with the seconds they took. SIZES is JSON: batch, the settings of the optimizer, and the model's own arguments.
TOOLS is a directory of the packages that torch.compile imports. Rows lie in memory.
"""

import json
import sys
import time
from pathlib import Path

sys.path.append(sys.argv[5])
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/peers"))
import references  # noqa: E402

ROWS, CLASSES = 4096, 10


class Teacher:
    """Its train.py's step: noise drawn, labels dropped, the loss of get_loss."""

    def __init__(self, peers, sizes):
        self.model = references.tarflow(peers).Model(num_classes=CLASSES, nvp=True, **sizes["model"])
        self.size, self.noise_std, self.drop = sizes["model"]["img_size"], sizes["noise_std"], sizes["label_drop"]
        self.images = smooth_images(self.size)
        self.labels = torch.arange(ROWS) % CLASSES

    def loss(self, rows):
        x, y = self.images[rows], self.labels[rows]
        x = x + self.noise_std * torch.randn_like(x)
        mask = (torch.rand(len(y)) < self.drop).int()
        z, _, logdets = self.call(x, (1 - mask) * y - mask)
        return self.model.get_loss(z, logdets)


class Student:
    """Flow matching on pairs of image and noise; the model drops labels itself."""

    def __init__(self, peers, sizes):
        self.model = self.network(peers, sizes)
        self.images = smooth_images(28)
        self.noise = torch.randn_like(self.images)
        self.labels = torch.arange(ROWS) % CLASSES

    def network(self, peers, sizes):
        return references.sit(peers).SiT(num_classes=CLASSES, learn_sigma=False, class_dropout_prob=sizes["label_drop"],
                                         **sizes["model"])

    def velocity(self, x, t, labels):
        return self.call(x, t, labels)

    def loss(self, rows):
        x, z = self.images[rows], self.noise[rows]
        t = torch.sigmoid(torch.randn(len(x)) - 0.2)
        velocity = self.velocity(torch.lerp(x, z, t.view(-1, 1, 1, 1)), t, self.labels[rows])
        return torch.nn.functional.mse_loss(velocity, z - x)


class UNetStudent(Student):
    """The same with a U-Net, one row of whose labels means none."""

    def network(self, peers, sizes):
        self.drop = sizes["label_drop"]
        return references.guided_diffusion(peers).UNetModel(num_classes=CLASSES + 1, **sizes["model"])

    def velocity(self, x, t, labels):
        none = torch.rand(len(labels)) < self.drop
        return self.call(x, 1000 * t, torch.where(none, CLASSES, labels))


class Features:
    """The built-in classifier of 28x28 images."""

    def __init__(self, peers, sizes):
        channels, dimension = sizes["model"]["channels"], sizes["model"]["dimension"]
        halved = [torch.nn.MaxPool2d(2), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(torch.nn.Conv2d(1, channels, 3, padding=1), *halved,
                                         torch.nn.Conv2d(channels, 2 * channels, 3, padding=1), *halved, torch.nn.Flatten(),
                                         torch.nn.Linear(2 * channels * 7 * 7, dimension), torch.nn.ReLU(),
                                         torch.nn.Linear(dimension, CLASSES))
        self.images = smooth_images(28)
        self.labels = torch.arange(ROWS) % CLASSES

    def loss(self, rows):
        return torch.nn.functional.cross_entropy(self.call(self.images[rows]), self.labels[rows])


def smooth_images(size):
    return torch.nn.functional.interpolate(torch.rand(ROWS, 1, 7, 7), size, mode="bilinear") * 2 - 1


class Training:
    def __init__(self, task, sizes):
        self.task, self.sizes, self.step = task, sizes, 0
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        groups = [{"params": [p for p in self.parameters if p.dim() >= 2], "weight_decay": sizes["weight_decay"]},
                  {"params": [p for p in self.parameters if p.dim() < 2], "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
        self.average = [p.detach().clone() for p in self.parameters]
        task.model.train()
        self.compiled = None

    def run(self, precision, mode, steps):
        if mode == "compiled" and self.compiled is None:
            self.compiled = torch.compile(self.task.model)
        self.task.call = self.compiled if mode == "compiled" else self.task.model
        batch = self.sizes["batch"]
        start = time.perf_counter()
        for _ in range(steps):
            rows = torch.arange(self.step * batch, (self.step + 1) * batch) % ROWS
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
                loss = self.task.loss(rows)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, self.sizes["clip"])
            self.optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 0.001)
            self.step += 1
        if not torch.isfinite(loss):
            sys.exit("the peer's loss is not finite")
        return time.perf_counter() - start


def main():
    peers, stage, sizes, threads, _ = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    sizes = json.loads(sizes)
    tasks = {"teacher": Teacher, "student": Student, "unet": UNetStudent, "features": Features}
    training = Training(tasks[stage](peers, sizes), sizes)
    for line in sys.stdin:
        precision, mode, steps = line.split()
        print(training.run(precision, mode, int(steps)), flush=True)


if __name__ == "__main__":
    main()
