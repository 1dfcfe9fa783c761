#!/usr/bin/env python3
"""The SciPy side of frechet_2048: scipy.linalg.sqrtm of the product of two covariances. frechet_peer.py A B DIMENSION THREADS; A and B are files of
float64. Answers `seconds` with those of one call, and `trace` with the root's trace."""

import os
import sys
import time

a, b, dimension, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads

import numpy  # noqa: E402
import scipy.linalg  # noqa: E402


def read(path):
    return numpy.fromfile(path).reshape(dimension, dimension)


def main():
    product = read(a) @ read(b)
    trace = 0
    for line in sys.stdin:
        if line.strip() == "seconds":
            start = time.perf_counter()
            root = scipy.linalg.sqrtm(product, disp=False)[0]
            print(time.perf_counter() - start, flush=True)
            trace = numpy.trace(root).real
        else:
            print(trace, flush=True)


if __name__ == "__main__":
    main()
