#!/usr/bin/env python3
"""The PyTorch side of jacobi_sample: encoreus/GS-Jacobi_for_TarFlow. jacobi_peer.py PEERS FILE CHANNELS PATCH TOLERANCE THREADS.

FILE holds a TarFlow's weights by their published names, noise `z` [rows, tokens, values], `labels`, and `images`, what it becomes in the end. Finds
the fastest of its ways whose images are that near, and answers each line with the seconds of one call of it. Its
values between iterations are bounded to [-3, 3]: a trained flow's states are not, and no bound is set here, or it would end elsewhere.
"""

import itertools
import sys
import time
from pathlib import Path

import torch


def model_of(weights, channels, patch):
    from GS_Jacobi_sampling import Model

    tokens, width = weights["blocks.0.pos_embed"].shape
    names = [name.split(".") for name in weights if name.startswith("blocks.")]
    blocks = 1 + max(int(words[1]) for words in names)
    layers = 1 + max(int(words[3]) for words in names if words[2] == "attn_blocks")
    classes = weights["blocks.0.class_embed"].shape[0] if "blocks.0.class_embed" in weights else 0
    model = Model(channels, round(tokens ** 0.5) * patch, patch, width, blocks, layers, classes)
    model.load_state_dict(weights)
    return model.eval()


def main():
    peers, file, channels, patch, tolerance, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.clamp = lambda values, **_: values
    sys.path.insert(0, str(Path(peers) / "GS-Jacobi_for_TarFlow"))
    weights = torch.load(file, weights_only=True)
    z, labels, images = (weights.pop(name) for name in ("z", "labels", "images"))
    model, tokens = model_of(weights, int(channels), int(patch)), z.shape[1]

    def call(parts, guess, bound):
        every = [1] * model.num_blocks
        start = time.perf_counter()
        made = model.reverse(z, labels, num_GS_list=[parts * one for one in every],
                             max_jacobi_list=[tokens * one for one in every],
                             guess_list=[guess * one for one in every], ebound=bound)
        return time.perf_counter() - start, ((made - images).square().mean() / images.square().mean()).sqrt().item()

    with torch.no_grad():
        found = []
        parts = [1] + [part for part in range(2, tokens // 2) if tokens % part == 0]
        for part, guess in itertools.product(parts, (0, 1)):
            for bound in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
                seconds, error = call(part, guess, bound)
                if error <= float(tolerance):  # smaller bounds take longer
                    found.append((seconds, (part, guess, bound), error))
                    break
        if not found:
            sys.exit("GS-Jacobi: no way comes that near")
        best = min(found)
        print("GS-Jacobi: {1[0]} parts, guess {1[1]}, ebound {1[2]:.0e}: error {2:.1e}".format(*best), file=sys.stderr)
        for _ in sys.stdin:
            print(call(*best[1])[0], flush=True)


if __name__ == "__main__":
    main()
