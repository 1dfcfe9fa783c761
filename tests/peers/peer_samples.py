#!/usr/bin/env python3
"""peer_samples.py PEERS WEIGHTS SAMPLES NFE: an exported model sampled by its publishers' code, from the same noise.

WEIGHTS is what `couplet export` wrote (.pt, with its .json), SAMPLES what model_samples did. Prints one JSON object: the largest absolute difference of
the two sets of samples, and how far samples are from the noise they came from.
"""

import json
import sys

import torch

import references


def sample_tarflow(model, z, labels, nfe):
    return model.reverse(model.patchify(z), labels)


def sample_sit(model, z, labels, nfe):
    """Euler steps in SiT's direction: t = 0 is noise, t = 1 data (its transport's default path)."""
    x = z
    for step in range(nfe):
        t = torch.full((len(x),), step / nfe)
        x = x + model(x, t, labels) / nfe
    return x


def main():
    peers, weights, samples, nfe = sys.argv[1:]
    torch.set_num_threads(1)
    with open(weights + ".json") as file:
        facts = json.load(file)
    if facts["peer"] == "apple/ml-tarflow":
        transformer_flow, sample = references.tarflow(peers), sample_tarflow  # noqa: F841
    else:
        models, sample = references.sit(peers), sample_sit  # noqa: F841
    model = eval(facts["construct"])  # as `couplet export` prints it, in the peer's own names
    model.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    model.eval()
    ours, _ = references.read_safetensors(samples)
    with torch.no_grad():
        theirs = sample(model, ours["z"].clone(), ours["labels"], int(nfe))
    difference = (theirs - ours["samples"]).abs().max().item()
    moved = (theirs - ours["z"]).abs().mean().item()
    print(json.dumps({"difference": difference, "moved": moved, "finite": bool(torch.isfinite(theirs).all())}))


if __name__ == "__main__":
    main()
