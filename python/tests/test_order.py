"""The order of rows and numbered noise, against what the program's own code gives; every row once an epoch."""

from __future__ import annotations

import itertools
import unittest

import numpy as np
import support  # noqa: F401

from couplet_table import RowOrder, numbered_noise

# Rows, rows of a block, blocks of a window, seed; the program's first rows of such a run, and a sum over all of the
# first 2 · rows + 3 (s → s · 1000003 + row, modulo 2^64).
KNOWN = (
    (23, 4, 2, 7, [17, 10, 18, 8, 19, 16, 9, 11, 14, 12, 22, 13, 15, 20, 21, 4, 1, 5, 2, 0, 6, 7, 3, 22, 16, 20],
     1036597362133165281),
    (1100, 64, 3, 0x123456789ABCDEF, [962, 266, 308, 290, 1004, 969, 1005, 283], 2749472483963308269),
    (100000, 256, 500, 5, [88440, 18540, 2545, 11171, 64511, 74481, 44271, 83224], 7430801849605464454),
)  # fmt: skip


class Order(unittest.TestCase):
    def test_is_the_programs(self) -> None:
        for rows, block, window, seed, first, total in KNOWN:
            found = RowOrder(rows, block, window, seed).at(0, 2 * rows + 3)
            self.assertEqual(found[: len(first)].tolist(), first)
            summed = 0
            for row in found.tolist():
                summed = (summed * 1000003 + row) % 2**64
            self.assertEqual(summed, total)

    def test_pieces_are_the_whole(self) -> None:
        order = RowOrder(1100, 64, 3, 9)
        whole = order.at(0, 3000)
        pieces = np.concatenate([order.at(first, 100) for first in range(0, 3000, 100)])
        self.assertTrue(np.array_equal(pieces, whole))
        self.assertTrue(np.array_equal(RowOrder(1100, 64, 3, 9).at(2345, 7), whole[2345:2352]))

    def test_readers_share_each_epoch(self) -> None:
        order = RowOrder(1100, 64, 3, 9)
        for readers, epoch in itertools.product((1, 2, 3, 7), (0, 5)):
            shares = [np.concatenate(list(order.share(epoch, reader, readers))) for reader in range(readers)]
            self.assertEqual(sorted(np.concatenate(shares).tolist()), list(range(1100)))
            self.assertLessEqual(max(map(len, shares)) - min(map(len, shares)), 1)
            skipped = np.concatenate(list(order.share(epoch, 0, readers, skip=100)))
            self.assertTrue(np.array_equal(skipped, shares[0][100:]))
        first, second = (np.concatenate(list(order.share(epoch))) for epoch in (0, 1))
        self.assertFalse(np.array_equal(first, second))

    def test_numbered_noise(self) -> None:
        found = numbered_noise(0x1122334455667788, [5, 5000000001], (7,))
        known = [-0.453635871, 1.84399283, -0.0361592695, -1.055879, 2.79496861, -0.136433974, -1.24712706]
        np.testing.assert_allclose(found[1], known, rtol=1e-6)
        self.assertEqual(found.dtype, np.float32)


if __name__ == "__main__":
    unittest.main()
