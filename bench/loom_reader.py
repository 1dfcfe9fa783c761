#!/usr/bin/env python3
"""LOOM-CFM's pairs as its own code writes and reads them: loom_reader.py make|read CHECKOUT FILE PAIRS SIZE.

Its classes come unmodified from the checkout. What they import and this does not use (PIL, torchvision; PyTorch where there is none) is stood in for;
torch.Tensor then is a numpy array, which costs the peer less. Prints the seconds for the pairs read, or 0.
"""

import contextlib
import sys
import time
import types
from unittest import mock

import numpy


def import_peer(checkout):
    try:
        import torch  # noqa: F401
    except ImportError:
        data = types.SimpleNamespace(Dataset=object)
        torch = types.SimpleNamespace(Tensor=numpy.asarray, utils=types.SimpleNamespace(data=data))
        sys.modules.update({"torch": torch, "torch.utils": torch.utils, "torch.utils.data": data})
    for name in ("PIL", "PIL.Image", "torchvision", "torchvision.transforms"):
        sys.modules.setdefault(name, mock.MagicMock())
    sys.path.insert(0, checkout)
    from dataset.h5 import HDF5Maker
    from dataset.paired_dataset import PairedDataset

    return HDF5Maker, PairedDataset


def make(maker_class, path, pairs, size):
    random = numpy.random.default_rng(0)
    maker = maker_class(path)
    for _ in range(pairs):  # as its convert_pairs_to_h5.py: both in float32
        source = random.standard_normal((3, size, size)).astype("float32")
        target = random.integers(0, 256, (3, size, size)).astype("float32")
        maker.add_data({"source": source, "target": target}, dtype="float32")
    maker.close()
    return 0


def read(dataset_class, path):
    pairs = dataset_class(path)
    order = numpy.random.default_rng(1).permutation(len(pairs))
    total = numpy.uint64(0)
    start = time.perf_counter()
    for index in order:
        (source, target), _ = pairs[int(index)]
        for values in (source, target):
            total += numpy.asarray(values).view(numpy.uint64).sum(dtype=numpy.uint64)
    seconds = time.perf_counter() - start
    if total == 0:
        sys.exit("nothing was read")
    return seconds


def main():
    action, checkout, path, pairs, size = sys.argv[1:]
    numpy.seterr(over="ignore")
    with contextlib.redirect_stdout(open("/dev/null", "w")):  # the peer prints
        maker, dataset = import_peer(checkout)
        seconds = make(maker, path, int(pairs), int(size)) if action == "make" else read(dataset, path)
    print(seconds)


if __name__ == "__main__":
    main()
