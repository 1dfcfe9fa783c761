"""Loaders: each row once an epoch over readers, ranks and workers; the same order again; going on where one stopped."""

from __future__ import annotations

import copy
import itertools
import unittest
import warnings
from typing import Any
from unittest import mock

import numpy as np
from support import ROWS, FolderTest, pairs

from couplet_table import BlockLoader, RowOrder, Table, TableError, write_coupling

try:
    import torch
    from torch.utils.data import DataLoader

    from couplet_table.torch import BlockDataset, CouplingDataset
except ImportError:
    torch = None  # type: ignore[assignment]


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
        with self.assertRaisesRegex(ValueError, "drop_last False; this one has True"):
            self.loader(reader=1, readers=2, drop_last=True).load_state_dict(state)

    def test_no_whole_batch(self) -> None:
        with self.assertRaisesRegex(ValueError, "table: its 1100 rows over 12 readers .* batch of 100 rows"):
            self.loader(readers=12, drop_last=True)


@unittest.skipIf(torch is None, "PyTorch is not installed")
class Torch(FolderTest):
    def dataset(self, name: str = "table", **options: Any) -> Any:
        if not (self.folder / name).exists():
            self.write(name)
        return BlockDataset(self.folder / name, **{"batch_rows": 50, "window_blocks": 3, "seed": 4, **options})

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
                begun, dataset = self.dataset(), self.dataset()
                first = rows_of(itertools.islice(DataLoader(begun, batch_size=None, num_workers=workers), taken))
                dataset.load_state_dict(begun.state_dict(taken if workers else None))
                dataset.set_epoch(0)
                self.assertEqual(first + self.loaded(dataset, workers), whole, (workers, taken))

    def test_the_state_of_another_order_is_refused(self) -> None:
        dataset = self.dataset()
        next(iter(DataLoader(dataset, batch_size=None, num_workers=2)))
        state = dataset.state_dict(1)
        write_coupling(self.folder / "short", **pairs(900), shard_rows=512, block_rows=64)
        write_coupling(self.folder / "blocks", **pairs(), shard_rows=512, block_rows=32)
        for options, message in (
            ({"name": "short"}, "rows 1100; this one has 900"),
            ({"name": "blocks"}, "block_rows 64; this one has 32"),
            ({"rank": 0, "ranks": 2}, "ranks 1; this one has 2"),
            ({"batch_rows": 40}, "batch_rows 50; this one has 40"),
            ({"window_blocks": 4}, "window_blocks 3; this one has 4"),
            ({"seed": 5}, "seed 4; this one has 5"),
            ({"drop_last": True}, "drop_last False; this one has True"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.dataset(**options).load_state_dict(state)
        dataset = self.dataset()
        dataset.load_state_dict(state)
        for workers in (0, 1):
            with self.assertRaisesRegex(ValueError, "workers 2; this one has 1"):
                self.loaded(dataset, workers)
        dataset.load_state_dict(state | {"epoch": 1, "batches": 0})  # of the beginning of an epoch, any number goes on
        self.assertEqual(len(self.loaded(dataset, 1)), 22)

    def test_what_workers_gave_is_counted_by_who_took_it(self) -> None:
        dataset = self.dataset()
        with self.assertRaisesRegex(ValueError, "3 batches of epoch 0 .* no iteration of it has begun"):
            dataset.state_dict(3)
        batches = iter(DataLoader(dataset, batch_size=None, num_workers=1))
        next(batches)
        with self.assertRaisesRegex(ValueError, "say how many batches were taken"):
            dataset.state_dict()
        self.assertEqual((dataset.batches, dataset.state_dict(1)["batches"]), (0, 1))
        dataset.set_epoch(1)
        self.assertEqual((dataset.state_dict()["epoch"], dataset.state_dict()["batches"]), (1, 0))

    def test_epochs(self) -> None:
        dataset = self.dataset()
        first, second = self.loaded(dataset, 0), self.loaded(dataset, 0)
        self.assertNotEqual(first, second)
        again = self.dataset()
        again.set_epoch(1)
        self.assertEqual(self.loaded(copy.deepcopy(again), 0), second)
        self.assertEqual(self.loaded(again, 1), second)
        for _ in range(2):
            again.set_epoch(0)
            self.assertEqual(self.loaded(again, 1), first)

    def test_an_iteration_that_was_left_is_begun_anew(self) -> None:
        dataset = self.dataset()
        first = next(iter(dataset))["row"].tolist()
        self.assertEqual(dataset.batches, 1)
        dataset.set_epoch(0)
        self.assertEqual(next(iter(dataset))["row"].tolist(), first)

    def test_persistent_workers_go_where_they_are_told(self) -> None:
        expected = self.dataset()
        epochs = [self.loaded(expected, 0) for _ in range(3)]
        for method, workers in (("fork", 1), ("spawn", 1)):
            dataset = copy.deepcopy(self.dataset())
            loader = DataLoader(
                dataset, None, num_workers=workers, persistent_workers=True, multiprocessing_context=method
            )
            for epoch in (1, 0):
                dataset.set_epoch(epoch)
                self.assertEqual(rows_of(loader), epochs[epoch], method)
            state = dataset.state_dict(20)
            dataset.load_state_dict(state | {"epoch": 2})
            self.assertEqual(rows_of(loader), epochs[2][20:], method)

    def test_an_epoch_that_workers_begin_again_is_a_warning(self) -> None:
        for persistent in (False, True):
            dataset = self.dataset()
            loader = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=persistent)
            with warnings.catch_warnings():  # workers are forked with these
                warnings.filterwarnings("error", "epoch")
                self.assertEqual(len(rows_of(loader)), 22)
                with self.assertRaisesRegex(UserWarning, "epoch 0 begins again at batch 0: set_epoch was not called"):
                    rows_of(loader)

    def test_drop_last_with_workers(self) -> None:
        for epoch in (0, 1):
            rows = []
            for rank in range(2):
                dataset = self.dataset(rank=rank, ranks=2, drop_last=True)
                dataset.set_epoch(epoch)
                batches = self.loaded(dataset, 2)
                self.assertEqual([len(batch) for batch in batches], 10 * [50])
                self.assertEqual((dataset.batches_per_epoch(2), dataset.batches_per_epoch()), (10, 11))
                rows += batches
            self.assertEqual(len(set(itertools.chain(*rows))), 1000)
        with self.assertRaisesRegex(ValueError, "1100 rows over 2 readers .* batch of 600 rows"):
            self.loaded(self.dataset(batch_rows=600, drop_last=True), 2)

    def test_ranks_of_torch_distributed(self) -> None:
        distributed = torch.distributed
        rows = []
        for rank in range(3):
            with (
                mock.patch.object(distributed, "is_initialized", lambda: True),
                mock.patch.object(distributed, "get_rank", lambda rank=rank: rank),
                mock.patch.object(distributed, "get_world_size", lambda: 3),
            ):
                dataset = self.dataset()
            rows.append(self.loaded(dataset, 0))
            self.assertEqual(rows[-1], self.loaded(self.dataset(rank=rank, ranks=3), 0))
        self.assertEqual(sorted(itertools.chain(*itertools.chain(*rows))), list(range(ROWS)))

    def test_tensors_and_lists_are_written(self) -> None:
        arrays = pairs(40)
        expected = write_coupling(self.folder / "arrays", **arrays)
        tensors: Any = {name: torch.tensor(values) for name, values in arrays.items()}
        lists = arrays | {"label": arrays["label"].tolist()}
        for name, given in (("tensors", tensors), ("lists", lists)):
            self.assertEqual(write_coupling(self.folder / name, **given), expected)
            for file in (self.folder / "arrays").iterdir():
                self.assertEqual((self.folder / name / file.name).read_bytes(), file.read_bytes())
        noise = tensors["noise"]
        for bad, found in (
            (noise.bfloat16(), "BFloat16"),
            (noise.to("meta"), "meta"),  # stands for a GPU
            (noise.clone().requires_grad_(), "grad"),
            ([[1.0], [2.0, 3.0]], "inhomogeneous"),
        ):
            with self.assertRaisesRegex(TableError, f"bad: array 'noise' of type .*{found}.*detach.*float.*cpu"):
                write_coupling(self.folder / "bad", **(tensors | {"noise": bad}))

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
