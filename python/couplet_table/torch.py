"""Tables as PyTorch's data sets. PyTorch is imported by this module alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.utils.data

from .loader import TRAINING_COLUMNS, BlockLoader, refuse_other_settings
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
    of the epoch `epoch`, which `set_epoch` or `load_state_dict` said last. Without workers, the next iteration goes
    through the next epoch; workers read ahead of the one who trains, count nothing, and need `set_epoch` each time.
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
        # Epoch, batches taken of it, the workers who gave them, and 1 + the batches that had been taken where an
        # iteration began, 0 before one. Worker processes share the memory; the last two are what worker 0 writes.
        self._place = torch.zeros(4, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        settings = self._loader(0, 1).order_settings()  # refuses what it cannot read
        self._settings = {key: value for key, value in settings.items() if key not in ("reader", "readers")}
        self._settings["ranks"] = self.ranks

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._place.share_memory_()  # a copy's is its own

    def _loader(self, worker: int, workers: int) -> BlockLoader:
        reader, readers = self.rank * workers + worker, self.ranks * workers
        return BlockLoader(self.table, reader=reader, readers=readers, **self.options)

    @property
    def epoch(self) -> int:
        """What the next iteration goes through."""
        return int(self._place[0])

    @property
    def batches(self) -> int:
        """How many of the epoch come before the next iteration; what workers give is not counted."""
        return int(self._place[1])

    def batches_per_epoch(self, workers: int = 0) -> int:
        """Returns the batches that this rank has of an epoch, given by a DataLoader with so many workers."""
        return sum(len(self._loader(worker, max(1, workers))) for worker in range(max(1, workers)))

    def set_epoch(self, epoch: int) -> None:
        """The next iteration goes through this epoch from its beginning, or from where `load_state_dict` put it."""
        if epoch != self.epoch or self._place[3]:
            self._go_to(epoch)

    def _go_to(self, epoch: int, batches: int = 0, workers: int = 0) -> None:
        self._place[:] = torch.tensor([epoch, batches, workers, 0])

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Returns where this rank stands in its epoch, and what the order depends on. With workers, say how many
        batches it has taken of the epoch."""
        epoch, counted, workers, begun = self._place.tolist()
        if batches is None and begun == counted + 1:
            raise ValueError("workers read ahead: say how many batches were taken of the epoch, state_dict(batches)")
        taken = counted if batches is None else batches
        if taken and not workers:
            raise ValueError(f"{taken} batches of epoch {epoch} cannot have been taken: no iteration of it has begun")
        return {"epoch": epoch, "batches": taken, "workers": workers, **self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next iteration goes on there, with the batches that would have come next. A state of another table or
        order is refused; of another number of workers, when it begins in the middle of an epoch."""
        refuse_other_settings(state, self._settings)
        self._go_to(int(state["epoch"]), int(state["batches"]), int(state["workers"]))

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = torch.utils.data.get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        epoch, batches, expected, begun = self._place.tolist()
        if batches:
            refuse_other_settings({"workers": expected}, {"workers": workers})
        if worker == 0:
            if begun == batches + 1:
                warnings.warn(f"epoch {epoch} begins again at batch {batches}: set_epoch was not called", stacklevel=1)
            self._place[2:] = torch.tensor([workers, batches + 1])
        taken, turn = _taken([len(self._loader(i, workers)) for i in range(workers)], batches)
        worker = (worker + turn) % workers
        loader = self._loader(worker, workers)
        loader.epoch, loader.batches = epoch, taken[worker]
        for batch in loader:
            if info is None:
                self._place[1] += 1
            yield {name: torch.from_numpy(values) for name, values in batch.items()}
        if info is None:
            self._go_to(epoch + 1)


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
