#!/usr/bin/env python3
"""The other side of sd_assign: the best of all atoms for each noise, block by block. sd_assign_peer.py POINTS NOISE POTENTIALS CHOSEN DIMENSION THREADS
LIBRARY; the first three are files of float32, LIBRARY is numpy or torch. Answers `seconds` with those of one pass, and `write` with 0 when the chosen atoms
are in the file CHOSEN, int64."""

import os
import sys
import time

points, noise, potentials, chosen, dimension, threads, library = *sys.argv[1:5], int(sys.argv[5]), *sys.argv[6:8]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads

import numpy  # noqa: E402

NOISES, ATOMS = 256, 2048  # of a block


def read(path):
    return numpy.fromfile(path, dtype=numpy.float32)


def best_by_torch(x, z, b):
    import torch

    torch.set_num_threads(int(threads))
    x, z, b = torch.from_numpy(x), torch.from_numpy(z), torch.from_numpy(b)
    best, atom = torch.full((len(z),), -torch.inf), torch.zeros(len(z), dtype=torch.int64)
    for first in range(0, len(z), NOISES):
        rows = slice(first, first + NOISES)
        for at in range(0, len(x), ATOMS):
            found, place = torch.addmm(b[at : at + ATOMS], z[rows], x[at : at + ATOMS].T).max(1)
            better = found > best[rows]
            best[rows] = torch.where(better, found, best[rows])
            atom[rows] = torch.where(better, place + at, atom[rows])
    return atom.numpy()


def best_by_numpy(x, z, b):
    best = numpy.full(len(z), -numpy.inf, dtype=numpy.float32)
    atom = numpy.zeros(len(z), dtype=numpy.int64)
    for first in range(0, len(z), NOISES):
        rows = slice(first, first + NOISES)
        for at in range(0, len(x), ATOMS):
            score = z[rows] @ x[at : at + ATOMS].T
            score += b[at : at + ATOMS]
            place = score.argmax(1)
            found = numpy.take_along_axis(score, place[:, None], 1)[:, 0]
            better = found > best[rows]
            best[rows][better] = found[better]
            atom[rows][better] = place[better] + at
    return atom


def main():
    x, z, b = read(points).reshape(-1, dimension), read(noise).reshape(-1, dimension), read(potentials)
    atom = None
    for line in sys.stdin:
        if line.strip() == "seconds":
            start = time.perf_counter()
            atom = (best_by_torch if library == "torch" else best_by_numpy)(x, z, b)
            print(time.perf_counter() - start, flush=True)
        else:
            atom.tofile(chosen)
            print(0, flush=True)


if __name__ == "__main__":
    main()
