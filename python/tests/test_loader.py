"""Loaders: each row once an epoch over readers, ranks and workers; the same order again; going on where one stopped."""

from __future__ import annotations

import copy
import itertools
import unittest
from typing import Any

import numpy as np
from support import ROWS, FolderTest, pairs

from couplet_table import BlockLoader, RowOrder, Table

try:
    import torch
    from torch.utils.data import DataLoader

    from couplet_table.torch import BlockDataset, CouplingDataset
except ImportError:
    torch = None


def rows_of(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


class Blocks(FolderTest):
    def loader(self, **options: Any) -> BlockLoader:
        if not (self.folder / "table").exists():
            self.write()
        return BlockLoader(Table(self.folder / "table"), 100, window_blocks=3, seed=4, **options)

    def test_each_row_once(self) -> None:
        for readers in (1, 2, 3, 6):
            loaders = [self.loader(reader=reader, readers=readers) for reader in range(readers)]
            batches = [rows_of(loader) for loader in loaders]
            for loader, mine in zip(loaders, batches):
                self.assertEqual(len(mine), len(loader))
                self.assertTrue(all(len(batch) == 100 for batch in mine[:-1]))
            rows = [row for mine in batches for batch in mine for row in batch]
            self.assertEqual(sorted(rows), list(range(ROWS)))

    def test_one_reader_has_the_programs_order(self) -> None:
        loader = self.loader()
        rows = [row for _ in range(2) for batch in rows_of(loader) for row in batch]
        self.assertEqual(rows, RowOrder(ROWS, 64, 3, 4).at(0, 2 * ROWS).tolist())

    def test_drop_last_gives_equally_many_whole_batches(self) -> None:
        batches = [rows_of(self.loader(reader=reader, readers=3, drop_last=True)) for reader in range(3)]
        self.assertEqual([[len(batch) for batch in mine] for mine in batches], 3 * [[100, 100, 100]])
        rows = [row for mine in batches for batch in mine for row in batch]
        self.assertEqual(len(set(rows)), 900)

    def test_values(self) -> None:
        arrays, table = pairs(), None
        for batch in self.loader():
            rows = batch["row"]
            table = table or Table(self.folder / "table")
            self.assertTrue(np.array_equal(batch["noise"], table.noise(rows)))
            self.assertTrue(np.array_equal(batch["image"], table.images(rows)))
            self.assertTrue(np.array_equal(batch["label"], arrays["label"][rows]))
        stored = next(iter(self.loader(stored=True, columns=["image"])))
        self.assertEqual((list(stored), stored["image"].dtype), (["image", "row"], np.uint8))

    def test_batches_that_are_kept_stay(self) -> None:
        kept = list(self.loader(stored=True)) + list(self.loader(stored=True))
        for batch in kept:
            self.assertTrue(np.array_equal(batch["image"], pairs()["image"][batch["row"]]))

    def test_goes_on(self) -> None:
        loader = self.loader(reader=1, readers=2)
        whole = rows_of(loader) + rows_of(loader)
        for stop in (0, 2, 5, 6, 9):
            loader = self.loader(reader=1, readers=2)
            iterators = itertools.chain(loader, loader)
            begun = rows_of(itertools.islice(iterators, stop))
            state = loader.state_dict()
            again = self.loader(reader=1, readers=2)
            again.load_state_dict(state)
            rest = [batch for _ in range(2 - again.epoch) for batch in rows_of(again)]
            self.assertEqual(begun + rest, whole, stop)
        with self.assertRaisesRegex(ValueError, "reader 1; this one has 0"):
            self.loader().load_state_dict(state)


@unittest.skipIf(torch is None, "PyTorch is not installed")
class Torch(FolderTest):
    def dataset(self, **options: Any) -> Any:
        if not (self.folder / "table").exists():
            self.write()
        return BlockDataset(self.folder / "table", 50, window_blocks=3, seed=4, **options)

    def loaded(self, dataset: Any, workers: int) -> list[list[int]]:
        return rows_of(DataLoader(dataset, batch_size=None, num_workers=workers))

    def test_each_row_once_over_ranks_and_workers(self) -> None:
        for ranks, workers in ((1, 0), (1, 2), (2, 1), (3, 2), (2, 3)):
            rows = []
            for rank in range(ranks):
                rows += self.loaded(self.dataset(rank=rank, ranks=ranks), workers)
            self.assertEqual(sorted(itertools.chain(*rows)), list(range(ROWS)), (ranks, workers))

    def test_goes_on_with_workers(self) -> None:
        for workers in (0, 3):
            whole = self.loaded(self.dataset(), workers)
            for taken in (1, 7, len(whole) - 1):
                dataset = self.dataset()
                dataset.load_state_dict(self.dataset().state_dict(taken))
                self.assertEqual(self.loaded(dataset, workers), whole[taken:], (workers, taken))

    def test_epochs(self) -> None:
        dataset = self.dataset()
        first, second = self.loaded(dataset, 0), self.loaded(dataset, 0)
        self.assertNotEqual(first, second)
        again = self.dataset()
        again.set_epoch(1)
        self.assertEqual(self.loaded(copy.deepcopy(again), 0), second)
        persistent = DataLoader(self.dataset(), batch_size=None, num_workers=1, persistent_workers=True)
        self.assertEqual([rows_of(persistent), rows_of(persistent)], [first, second])

    def test_pairs(self) -> None:
        arrays, table = pairs(), Table(self.write())
        dataset = CouplingDataset(self.folder / "table")
        self.assertEqual(len(dataset), ROWS)
        z, x, label = dataset[5]
        self.assertTrue(np.array_equal(z.numpy(), table.noise([5])[0]))
        self.assertTrue(np.array_equal(x.numpy(), table.images([5])[0]))
        self.assertEqual(label, arrays["label"][5])
        batch = next(iter(DataLoader(dataset, batch_size=32, shuffle=True, num_workers=2)))
        self.assertEqual([list(part.shape) for part in batch], [[32, 3, 8, 8], [32, 3, 8, 8], [32]])


if __name__ == "__main__":
    unittest.main()
