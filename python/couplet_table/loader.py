"""Shuffled batches of a table, read by whole blocks ahead of the one who trains."""

from __future__ import annotations

import concurrent.futures
import copy
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .order import RowOrder
from .shard import Array, Numbers
from .table import Table

Batch = dict[str, Array]
TRAINING_COLUMNS = ("noise", "image", "label")
_MOST_KEPT = 3  # windows' memory that is kept: one is handed out, one is read, a batch may hold on to another


def _holders(pool: list[Array], i: int) -> int:
    """Returns the references to an array in a list; parts of an array refer to it."""
    return sys.getrefcount(pool[i])


_ALONE = _holders([np.empty(0)], 0)


class BlockLoader:
    """Gives the batches of one reader, who may be one of several: dictionaries of arrays [n, *shape].

    `noise` has unit variance and `image` the values that models see, both float32, unless `stored` asks for what the
    file holds; other columns are as they are stored. `row` has the rows' numbers in the table, int64 [n]. Batches may
    share memory with each other and are not to be written to.

    Blocks come in a random order that seed and epoch give, `window_blocks` at a time, and the rows of a window in a
    random order. Memory: two windows, one that is handed out and one that a thread reads, and a third while a batch
    holds on to it. An iteration goes through the rest of an epoch and leaves the loader at the beginning of the next.
    """

    def __init__(
        self,
        table: Table,
        batch_rows: int,
        columns: Sequence[str] = TRAINING_COLUMNS,
        *,
        window_blocks: int = 16,
        seed: int = 0,
        reader: int = 0,
        readers: int = 1,
        drop_last: bool = False,
        stored: bool = False,
    ) -> None:
        """batch_rows: of this reader. drop_last: all readers have equally many batches, and all of them are whole; up
        to batch_rows rows of each reader are left out of an epoch. Else each row comes once, and the readers' last
        batches may be short."""
        if not 0 <= reader < readers:
            raise ValueError(f"reader {reader} of {readers}: expected 0 to {readers - 1}")
        if batch_rows < 1:
            raise ValueError(f"batches of {batch_rows} rows: a batch has at least one")
        for name in columns:
            table.column(name)
        self.table = copy.copy(table)  # shards of its own, which its thread reads
        self.batch_rows, self.columns, self.stored = batch_rows, tuple(columns), stored
        self.reader, self.readers, self.drop_last = reader, readers, drop_last
        self.order = RowOrder(table.rows, table.block_rows, window_blocks, seed)
        if drop_last and len(self) == 0:
            raise ValueError(
                f"{table.path}: its {table.rows} rows over {readers} readers (ranks times workers) make no whole "
                f"batch of {batch_rows} rows for each; take fewer readers, smaller batches, or drop_last=False"
            )
        self._pools: dict[str, list[Array]] = {}
        self.epoch = self.batches = 0  #: batches: that were given of this epoch

    def __len__(self) -> int:
        """The batches of an epoch."""
        if self.drop_last:
            return self.table.rows // self.readers // self.batch_rows
        rows = self.table.rows
        mine = rows * (self.reader + 1) // self.readers - rows * self.reader // self.readers
        return -(-mine // self.batch_rows)

    def state_dict(self) -> dict[str, Any]:
        """Returns where the loader stands, and what the order depends on."""
        return {"epoch": self.epoch, "batches": self.batches, **self.order_settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where a loader stood. One of another table, order or batch size is refused."""
        refuse_other_settings(state, self.order_settings())
        self.epoch, self.batches = int(state["epoch"]), int(state["batches"])

    def order_settings(self) -> dict[str, Any]:
        """Returns what the order depends on: states of loaders with other values are refused."""
        return {
            "rows": self.table.rows,
            "block_rows": self.table.block_rows,
            "window_blocks": self.order.window_blocks,
            "seed": self.order.seed,
            "reader": self.reader,
            "readers": self.readers,
            "batch_rows": self.batch_rows,
            "drop_last": self.drop_last,
        }

    def _memory(self, name: str, count: int) -> Array:
        """Returns room for rows of a window: that of an earlier one, of which nobody holds a part, else new."""
        pool = self._pools.setdefault(name, [])
        for i in range(len(pool)):
            if len(pool[i]) >= count and _holders(pool, i) == _ALONE:
                return pool[i][:count]
        del pool[: max(0, len(pool) - _MOST_KEPT)]
        column, rows = self.table.column(name), self.order.window_blocks * self.order.block_rows
        pool.append(np.empty((max(count, min(rows, self.table.rows)), *column.shape), column.dtype))
        return pool[-1][:count]

    def _window(self, rows: Numbers) -> Batch:
        window = {name: self.table.read(name, rows, self._memory(name, len(rows))) for name in self.columns}
        return {**window, "row": rows}

    def _converted(self, batch: Batch) -> Batch:
        if not self.stored:
            for name, convert in (("noise", self.table.scaled), ("image", self.table.ranged)):
                if name in batch:
                    batch[name] = convert(batch[name])
        return batch

    def _windows(self) -> Generator[Batch, None, None]:
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            share = self.order.share(self.epoch, self.reader, self.readers, self.batches * self.batch_rows)

            def read_next() -> Batch | None:
                rows = next(share, None)
                return None if rows is None else self._window(rows)

            ahead = thread.submit(read_next)
            while (window := ahead.result()) is not None:
                ahead = thread.submit(read_next)
                yield window

    def __iter__(self) -> Iterator[Batch]:
        """Gives the batches that are left of the epoch."""
        windows = self._windows()
        window: Batch | None = {"row": np.empty(0, np.int64)}
        while self.batches < len(self):
            parts: list[Batch] = []
            needed = self.batch_rows
            while needed > 0 and window is not None:
                if len(window["row"]):
                    parts.append({name: values[:needed] for name, values in window.items()})
                    window = {name: values[needed:] for name, values in window.items()}
                    needed -= len(parts[-1]["row"])
                else:
                    window = next(windows, None)
            self.batches += 1
            whole = (
                {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts[1:] else parts[0]
            )
            yield self._converted(whole)
        windows.close()
        self.epoch, self.batches = self.epoch + 1, 0


def refuse_other_settings(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raises a ValueError where the state that a loader left does not have these settings."""
    for key, value in settings.items():
        if state.get(key) != value:
            raise ValueError(f"the state is of a loader with {key} {state.get(key)}; this one has {value}")
