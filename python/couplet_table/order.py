"""The shuffled order in which training visits rows, and noise that has a number: functions of (seed, number) alone.

Both are the program's own: Philox4x32-10 (Salmon et al., SC 2011) keyed by the seed and counted by (index, purpose,
block), so that no generator has a state to save.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .shard import Numbers

Words = npt.NDArray[np.uint64]

_ROW_ORDER, _NUMBERED_NOISE = 1, 19  # purposes
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def _philox(index: npt.NDArray[np.uint64], purpose: int, block: Words, seed: int) -> tuple[Words, Words, Words, Words]:
    """Returns the four words of each block of each index; the arrays are broadcast."""
    index, block = np.broadcast_arrays(index, block)
    a, b, d = index & _LOW, index >> _HALF, block.astype(np.uint64)
    c = np.full_like(a, purpose)
    key, other = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (q >> _HALF) ^ b ^ np.uint64(key), q & _LOW, (p >> _HALF) ^ d ^ np.uint64(other), p & _LOW
        key, other = (key + 0x9E3779B9) & 0xFFFFFFFF, (other + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def _draws(seed: int, index: int, count: int) -> Words:
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    return np.stack(_philox(np.array(index, np.uint64), _ROW_ORDER, blocks, seed), axis=1).reshape(-1)


def permutation(n: int, seed: int, index: int) -> Numbers:
    """Returns the random permutation of 0 … n - 1 that the program draws for an index of its row order: int64 [n]."""
    bounds = np.arange(n, 1, -1, dtype=np.uint64)
    whole = (np.uint64(1 << 32) // bounds) * bounds  # words from here on are drawn again
    words = _draws(seed, index, len(bounds) + 64)
    picks = np.empty_like(bounds)
    done = again = 0
    while done < len(bounds):
        if len(words) < len(bounds) + again:
            words = _draws(seed, index, 2 * len(words))
        some = words[done + again : len(bounds) + again]
        bad = np.flatnonzero(some >= whole[done:])
        good = int(bad[0]) if len(bad) else len(some)
        picks[done : done + good] = some[:good] % bounds[done : done + good]
        done, again = done + good, again + 1
    order = list(range(n))
    for last, pick in zip(range(n - 1, 0, -1), picks.tolist()):
        order[last], order[pick] = order[pick], order[last]
    return np.array(order, np.int64)


class RowOrder:
    """Each epoch visits the table's blocks in a random order, `window_blocks` at a time, and the rows of such a window
    in a random order. Every epoch visits every row once. Position p of a training run belongs to epoch p // rows."""

    def __init__(self, rows: int, block_rows: int, window_blocks: int = 16, seed: int = 0) -> None:
        if min(rows, block_rows, window_blocks) < 1:
            raise ValueError(
                f"{rows} rows in blocks of {block_rows}, windows of {window_blocks} blocks: expected 1 or more"
            )
        self.rows, self.block_rows, self.window_blocks, self.seed = rows, block_rows, window_blocks, seed
        self._last: tuple[int, int, Numbers] = (0, 0, np.empty(0, np.int64))  # the window that `at` used last

    def share(self, epoch: int, reader: int = 0, readers: int = 1, skip: int = 0) -> Iterator[Numbers]:
        """Gives the row numbers of each window of one of several readers, who read an epoch together: int64 [n].

        Readers have rows // readers rows, or one more; a block is read by one of them, or by two neighbours. One reader
        alone has the order in which the program trains. Rows that begin the share can be skipped; windows that are
        skipped whole are not drawn.
        """
        blocks = permutation(-(-self.rows // self.block_rows), self.seed, epoch << 32)
        sizes = np.minimum(self.block_rows, self.rows - blocks * self.block_rows)
        ends = np.cumsum(sizes)
        start, stop = self.rows * reader // readers, self.rows * (reader + 1) // readers
        firsts = blocks * self.block_rows + np.clip(start - (ends - sizes), 0, sizes)
        lasts = blocks * self.block_rows + np.clip(stop - (ends - sizes), 0, sizes)
        pieces = [np.arange(first, last) for first, last in zip(firsts, lasts) if first < last]
        windows_of_one = len(blocks) // self.window_blocks + 2
        for number in range(-(-len(pieces) // self.window_blocks)):
            rows = np.concatenate(pieces[number * self.window_blocks : (number + 1) * self.window_blocks])
            if skip < len(rows):
                draw = epoch << 32 | 1 + reader * windows_of_one + number
                yield rows[permutation(len(rows), self.seed, draw)][skip:]
            skip = max(0, skip - len(rows))

    def at(self, first: int, count: int) -> Numbers:
        """Returns the row at each position of [first, first + count) of a training run, across epochs: int64 [count].

        Rank r of a run whose global batch is B has, in step s, positions s · B + r · B / ranks on.
        """
        parts = []
        while count > 0:
            if not self._last[0] <= first < self._last[1]:
                epoch, within = divmod(first, self.rows)
                window = next(self.share(epoch, skip=within))
                self._last = (first, first + len(window), window)
            rows = self._last[2][first - self._last[0] :][:count]
            parts.append(rows)
            first, count = first + len(rows), count - len(rows)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


def numbered_noise(seed: int, ids: npt.ArrayLike, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Returns the standard normal noise of these numbers, as a table of seeds has them: float32 [n, *shape].

    The program computes logarithm, sine and cosine by itself, so that the last bit of a value may differ.
    """
    index = np.asarray(ids).astype(np.uint64).reshape(-1, 1)
    count = int(np.prod(shape, dtype=np.int64))
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    a, b, c, d = _philox(index, _NUMBERED_NOISE, blocks, seed)
    values = []
    for word, turn in ((a, b), (c, d)):
        radius = np.sqrt(-2 * np.log((2.0 * word + 1) / 2**33))
        angle = 2 * np.pi * turn / 2**32
        values += [radius * np.cos(angle), radius * np.sin(angle)]
    noise = np.stack(values, axis=-1).reshape(len(index), -1)[:, :count]
    return np.asarray(noise.reshape(len(index), *shape), np.float32)
