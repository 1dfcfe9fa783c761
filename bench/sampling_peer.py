#!/usr/bin/env python3
"""The PyTorch side of teacher_sample: apple/ml-tarflow's `reverse`, unmodified. sampling_peer.py PEERS ROWS THREADS; reads image sizes, answers with
the seconds of one call (the first of each size warms up and is not counted)."""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/peers"))
import references  # noqa: E402


def main():
    peers, rows, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    transformer_flow, models = references.tarflow(peers), {}
    y = torch.arange(rows) % 10
    for line in sys.stdin:
        size = int(line)
        if size not in models:
            models[size] = transformer_flow.Model(in_channels=1, img_size=size, patch_size=4, channels=128, num_blocks=4,
                                                  layers_per_block=2, num_classes=10).eval()
        z = torch.randn(rows, (size // 4) ** 2, 16)
        with torch.no_grad():
            start = time.perf_counter()
            models[size].reverse(z, y)
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
