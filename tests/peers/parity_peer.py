#!/usr/bin/env python3
"""parity_peer.py PEERS DIRECTORY: the training that parity_training.cpp left in DIRECTORY, by PyTorch around the unmodified reference. Prints its losses."""

import json
import math
import sys
from pathlib import Path

import torch

import references


def tarflow_loss(peers, sizes, images, classes):
    model = references.tarflow(peers).Model(in_channels=images.shape[1], img_size=images.shape[-1], num_classes=classes,
                                            nvp=True, **sizes)

    def loss(images, labels):  # a dropped label is -1, as in ml-tarflow's train.py
        z, _, logdets = model(images, labels)
        return model.get_loss(z, logdets)

    return model, loss


def sit_loss(peers, sizes, images, classes):
    model = references.sit(peers).SiT(in_channels=images.shape[1], input_size=images.shape[-1], num_classes=classes,
                                      learn_sigma=False, **sizes)
    model.y_embedder.dropout_prob = 0  # a dropped label comes as the null label

    def loss(images, z, times, labels):
        t = times.view(-1, 1, 1, 1)
        velocity = model((1 - t) * images + t * z, times, labels)
        return (velocity - (z - images)).square().mean()

    return model, loss


def rate(settings, step):
    if step < settings["warmup"]:
        return settings["learning_rate"] * (step + 1) / settings["warmup"]
    through = (step - settings["warmup"]) / (settings["steps"] - 1 - settings["warmup"])
    low, high = settings["final_learning_rate"], settings["learning_rate"]
    return low + (high - low) * (1 + math.cos(math.pi * through)) / 2


def train(model, loss_of, batches, settings):
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings["weight_decay"]},
              {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, fused=True)
    losses = []
    for step in range(settings["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = rate(settings, step)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*(batches[str(k)][step] for k in range(len(batches))))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings["clip"])
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    peers, directory = sys.argv[1], Path(sys.argv[2])
    settings = json.loads((directory / "settings.json").read_text())
    batches, _ = references.read_safetensors(directory / "batches.safetensors")
    weights, _ = references.read_safetensors(directory / "weights.safetensors")
    make = tarflow_loss if settings["stage"] == "teacher" else sit_loss
    model, loss = make(peers, settings["sizes"], batches["0"][0], 10)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.endswith("attn_mask") for name in missing):
        sys.exit(f"missing {missing}, unexpected {unexpected}")
    model.train()
    print(json.dumps(train(model, loss, batches, settings)))


if __name__ == "__main__":
    main()
