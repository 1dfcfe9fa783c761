"""Tables as PyTorch's data sets. PyTorch is imported by this module alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.utils.data

from .loader import TRAINING_COLUMNS, BlockLoader
from .table import Table

Sample = tuple[torch.Tensor, torch.Tensor, int]


class CouplingDataset(torch.utils.data.Dataset[Sample]):
    """Pairs of a coupling table by their numbers: (z, x, label), z of unit variance and x as models see it, both
    float32 [C, H, W]. A row is read by itself; `BlockDataset` reads a shuffled table much faster."""

    def __init__(self, path: str | os.PathLike[str], verify: bool = True) -> None:
        self.table = Table(path, verify)

    def __len__(self) -> int:
        return self.table.rows

    def __getitem__(self, row: int) -> Sample:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Sample]:
        """Reads a batch at once; DataLoader calls this."""
        numbers = np.asarray(rows, np.int64)
        noise, images = self.table.noise(numbers), self.table.images(numbers)
        labels = self.table.labels(numbers)
        return [(torch.from_numpy(z), torch.from_numpy(x), int(y)) for z, x, y in zip(noise, images, labels)]


class BlockDataset(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
    """Shuffled batches of a table (`BlockLoader`), split over ranks and over the workers of a DataLoader, which is
    given batch_size=None: dictionaries of tensors [n, *shape].

    Without `rank` and `ranks`, torch.distributed says them where it is initialised. An iteration goes through the rest
    of the epoch `epoch`. With workers, that is what `set_epoch` or `load_state_dict` said last: a worker's own count
    stays in the worker, which goes on by itself only where workers are persistent.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_rows: int,
        columns: Sequence[str] = TRAINING_COLUMNS,
        *,
        window_blocks: int = 16,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
        drop_last: bool = False,
        stored: bool = False,
        verify: bool = True,
    ) -> None:
        """batch_rows: of a rank. The others are `BlockLoader`'s."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if distributed else 0
        self.ranks = ranks if ranks is not None else torch.distributed.get_world_size() if distributed else 1
        self.table = Table(path, verify)
        self.options: dict[str, Any] = {
            "batch_rows": batch_rows,
            "columns": tuple(columns),
            "window_blocks": window_blocks,
            "seed": seed,
            "drop_last": drop_last,
            "stored": stored,
        }
        self.epoch = self.batches = 0
        self._loader(0, 1)  # refuses what it cannot read

    def _loader(self, worker: int, workers: int) -> BlockLoader:
        reader, readers = self.rank * workers + worker, self.ranks * workers
        return BlockLoader(self.table, reader=reader, readers=readers, **self.options)

    def set_epoch(self, epoch: int) -> None:
        """The next iteration goes through this epoch from its beginning."""
        self.epoch, self.batches = epoch, 0

    def state_dict(self, batches: int | None = None) -> dict[str, int]:
        """Returns where this rank stands in its epoch. With workers, say how many batches it has taken of it."""
        return {"epoch": self.epoch, "batches": self.batches if batches is None else batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next iteration goes on there, with the batches that would have come next from as many workers."""
        self.epoch, self.batches = state["epoch"], state["batches"]

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = torch.utils.data.get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        taken, turn = _taken([len(self._loader(i, workers)) for i in range(workers)], self.batches)
        worker = (worker + turn) % workers
        loader = self._loader(worker, workers)
        loader.epoch, loader.batches = self.epoch, taken[worker]
        for batch in loader:
            if workers == 1:
                self.batches += 1
            yield {name: torch.from_numpy(values) for name, values in batch.items()}
        self.set_epoch(self.epoch + 1)


def _taken(lengths: Sequence[int], batches: int) -> tuple[list[int], int]:
    """Returns how many batches of each worker are among the first of a rank, who takes them in turn as a DataLoader
    does, and the worker whose turn it is."""
    rounds = min(batches // len(lengths), min(lengths))
    taken, turn = [rounds] * len(lengths), 0
    left = min(batches, sum(lengths)) - rounds * len(lengths)
    while left > 0:
        if taken[turn] < lengths[turn]:
            taken[turn], left = taken[turn] + 1, left - 1
        turn = (turn + 1) % len(lengths)
    return taken, turn
