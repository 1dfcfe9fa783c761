#!/usr/bin/env python3
"""The SciPy side of assignment_scipy: scipy.optimize.linear_sum_assignment of an N x N matrix. assignment_peer.py FILE N; FILE is of float32.
Answers `seconds` with those of one call, and `cost` with the sum of the costs that it found last."""

import sys
import time

import numpy
from scipy.optimize import linear_sum_assignment


def main():
    rows = int(sys.argv[2])
    # SciPy computes in float64, and would convert in every call.
    matrix = numpy.fromfile(sys.argv[1], dtype=numpy.float32).reshape(rows, rows).astype(numpy.float64)
    cost = 0
    for line in sys.stdin:
        if line.strip() == "seconds":
            start = time.perf_counter()
            chosen = linear_sum_assignment(matrix)
            print(time.perf_counter() - start, flush=True)
            cost = matrix[chosen].sum()
        else:
            print(cost, flush=True)


if __name__ == "__main__":
    main()
