"""What is wrong with a table: every file is compared with its own checksums and with the manifest, as `couplet verify`
does, and in its words. Nothing is changed."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import _json_text, _xxh3
from .errors import TableError
from .shard import Array, Column, Shard, hash_rows
from .table import (
    COUPLING_FORMAT,
    MANIFEST_NAME,
    SEEDS_FORMAT,
    Table,
    difference,
    listed_facts,
    load_manifest,
    parse_shard_name,
    shard_name,
)

_BYTES_AT_ONCE = 16 << 20
_MOST_ROWS_TOLD = 5


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    file: str  #: its name in the table's directory
    what: str  #: what is wrong; with the rows, where it is about rows

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def verify(path: str | os.PathLike[str], quick: bool = False) -> list[Problem]:
    """Returns all problems of a table or of one shard; none where it is sound.

    Every byte is compared with its checksum, values are looked at for NaN, and rows for their numbering. With `quick`
    only the manifest, names, headers and sizes are looked at. A path that holds no table at all is a TableError.
    """
    place = Path(path)
    if not place.exists():
        raise TableError(f"{place} does not exist")
    if not place.is_dir():
        return _check_file(place, None, -1, quick)
    manifest, shards, problems = _survey(place)
    for index in range(shards):
        file = place / shard_name(index, shards)
        if file.exists():
            problems += _check_file(file, manifest, index, quick)
    if not problems and not quick and manifest is not None and manifest["format"] == SEEDS_FORMAT:
        problems += [Problem(MANIFEST_NAME, what) for what in _seeds_table_problems(Table(place))]
    return problems


def content_hash(shard: Shard) -> str:
    """Returns the XXH3-128 by which a manifest knows a shard: of its bytes outside the columns, which hold the
    checksums of all others; of a shard of version 1, of all bytes."""
    whole, position = _xxh3.new_hash128(), 0
    if shard.has_row_checksums:
        for column in _columns_in_file(shard):
            _add_bytes(whole, shard, position, shard.offset(column.name))
            position = shard.offset(column.name) + shard.rows * column.row_bytes
    _add_bytes(whole, shard, position, shard.bytes)
    return whole.hexdigest()


def _columns_in_file(shard: Shard) -> list[Column]:
    return sorted(shard.columns.values(), key=lambda column: shard.offset(column.name))


def _add_bytes(whole: _xxh3.Hash128, shard: Shard, begin: int, end: int) -> None:
    for start in range(begin, end, 1 << 20):
        piece = np.empty(min(1 << 20, end - start), np.uint8)
        shard.read_at(piece, start)
        whole.update(piece)


def _survey(directory: Path) -> tuple[dict[str, Any] | None, int, list[Problem]]:
    """Looks at the manifest and at names: (manifest, or None of a bad one; number of shards; problems)."""
    names = sorted(entry.name for entry in directory.iterdir() if not entry.is_dir())
    counts = collections.Counter(parsed[1] for name in names if (parsed := parse_shard_name(name)))
    manifest, problems = None, []
    if MANIFEST_NAME not in names:
        if not counts:
            raise TableError(f"{directory}: holds no table: neither {MANIFEST_NAME} nor a shard")
        problems.append(Problem(MANIFEST_NAME, "missing: the table is not finished"))
    else:
        try:
            manifest = load_manifest(directory)
        except TableError as error:
            problems.append(Problem(MANIFEST_NAME, _without_path(error, directory / MANIFEST_NAME)))
    most = max(counts.values(), default=0)
    voted = min((shards for shards, votes in counts.items() if votes == most), default=0)
    shards = len(manifest["shards"]) if manifest else voted
    for index in range(shards):
        name = shard_name(index, shards)
        if name not in names:
            hole = ""
            if manifest:
                first = index * manifest["shard_rows"]
                hole = f": rows {first} to {min(first + manifest['shard_rows'], manifest['rows']) - 1} are a hole"
            problems.append(Problem(name, "missing" + hole))
    for name in names:
        parsed = parse_shard_name(name)
        if parsed and parsed[1] != shards:
            problems.append(Problem(name, f"belongs to a table of {parsed[1]} shards, this one has {shards}"))
        elif not parsed and name.endswith(".h5") and not name.startswith("."):
            problems.append(Problem(name, "is no shard of this table"))
    return manifest, shards, problems


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _check_file(path: Path, manifest: dict[str, Any] | None, index: int, quick: bool) -> list[Problem]:
    """Returns the problems of one shard: number `index` of a table, or -1 of one that stands alone."""
    problems: list[str] = []
    try:
        with Shard(path, verify=False) as shard:
            for what in _shard_problems(shard, manifest, index, quick):
                problems.append(what)
    except TableError as error:
        problems.append(_without_path(error, path))
    return [Problem(path.name, what) for what in problems]


def _shard_problems(shard: Shard, manifest: dict[str, Any] | None, index: int, quick: bool) -> Iterator[str]:
    entry = manifest["shards"][index] if manifest else None
    problems = []
    if manifest and shard.format != manifest["format"]:
        yield f"has format '{shard.format}', expected '{manifest['format']}'"
        return
    if index >= 0:
        expected = listed_facts(manifest, index) if manifest else _facts_of_others(shard, index)
        if text := difference(shard.facts(), expected):
            problems.append("is not the shard that belongs here: " + text)
    if entry and shard.bytes != entry["bytes"]:
        problems.append(f"has {shard.bytes} bytes, the manifest lists {entry['bytes']}")
    yield from problems
    if quick:
        return
    found, damage = _scan(shard)
    yield from damage
    problems += damage
    if entry and not problems and found != entry["hash"]:
        problems.append(
            f"its content hash is {found}, the manifest lists {entry['hash']}: bytes outside the rows were changed, "
            "the shard was replaced, or the manifest is an old one"
        )
        yield problems[-1]
    if not problems:
        yield from _coupling_problems(shard) if shard.format == COUPLING_FORMAT else ()
        yield from _seeds_problems(shard) if shard.format == SEEDS_FORMAT else ()


def _facts_of_others(shard: Shard, index: int) -> dict[str, Any]:
    """Without a manifest, a shard must be as the first other one that can be read."""
    parsed = parse_shard_name(shard.path.name)
    shards = parsed[1] if parsed else 0
    for other in range(shards):
        path = shard.path.parent / shard_name(other, shards)
        if other == index or not path.exists():
            continue
        try:
            with Shard(path, verify=False) as one:
                facts = one.facts()
        except TableError:
            continue  # a problem of that shard, told when it is its turn
        shard_rows = facts["rows"] if other + 1 < shards else shard.rows
        # Nobody knows how many rows the last shard has.
        facts.update(first_row=index * shard_rows, rows=shard.rows if index + 1 == shards else shard_rows)
        return facts
    return shard.facts()


class _Ranges:
    """Rows of a column, in which neighbours are joined."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int, int]] = []

    def note(self, column: str, first: int, last: int) -> None:
        if self.found and self.found[-1][0] == column and first <= self.found[-1][2] + 1:
            _, begin, end = self.found.pop()
            first, last = min(begin, first), max(end, last)
        self.found.append((column, first, last))


def _scan(shard: Shard) -> tuple[str, list[str]]:
    """Reads every byte once, and returns the content hash and what is wrong with checksums and values."""
    damaged, nonfinite = _Ranges(), _Ranges()
    whole, position = _xxh3.new_hash128(), 0
    for column in _columns_in_file(shard):
        _add_bytes(whole, shard, position, shard.offset(column.name))
        position = shard.offset(column.name) + shard.rows * column.row_bytes
        for first, rows in _pieces(shard, column):
            if not shard.has_row_checksums:
                whole.update(rows.reshape(-1).view(np.uint8))
            _check_checksums(shard, column, first, rows, damaged)
            if column.dtype.kind == "f":
                for row in np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)):
                    nonfinite.note(column.name, first + int(row), first + int(row))
    _add_bytes(whole, shard, position, shard.bytes)
    problems = [
        f"column '{name}' is damaged in {_rows_text(shard, first, last)}: the checksum differs"
        for name, first, last in damaged.found
    ]
    # Rows that the shard's own summary owns up to are no damage.
    bad_rows = {row for _, first, last in nonfinite.found for row in range(first, last + 1)}
    owned_up = shard.summary.get("nonfinite_rows", 0) if isinstance(shard.summary, dict) else 0
    if len(bad_rows) != owned_up:
        problems += [
            f"column '{name}' holds NaN or infinite values in {_rows_text(shard, first, last)}"
            for name, first, last in nonfinite.found
        ]
    return whole.hexdigest(), problems


def _pieces(shard: Shard, column: Column) -> Iterator[tuple[int, Array]]:
    """Gives (first row, rows) of some whole blocks each."""
    step = max(1, _BYTES_AT_ONCE // (column.row_bytes * shard.block_rows)) * shard.block_rows
    for first in range(0, shard.rows, step):
        yield first, shard.read(column.name, first, min(step, shard.rows - first))


def _check_checksums(shard: Shard, column: Column, first: int, rows: Array, damaged: _Ranges) -> None:
    blocks = range(0, len(rows), shard.block_rows)
    full = len(rows) // shard.block_rows
    sums = hash_rows(rows[: full * shard.block_rows].reshape(full, -1)) if full else np.empty(0, np.uint64)
    if full < len(blocks):
        sums = np.append(sums, hash_rows(rows[full * shard.block_rows :].reshape(1, -1)))
    first_block = first // shard.block_rows
    bad_blocks = sums != shard.checksums(column.name)[first_block : first_block + len(blocks)]
    stored = shard.row_checksums(column.name, first, len(rows))
    bad_rows = hash_rows(rows) != stored if len(stored) else np.zeros(len(rows), bool)
    for start, bad in zip(blocks, bad_blocks):
        end = min(start + shard.block_rows, len(rows))
        for row in np.flatnonzero(bad_rows[start:end]):
            damaged.note(column.name, first + start + int(row), first + start + int(row))
        if bad:
            damaged.note(column.name, first + start, first + end - 1)


def _rows_text(shard: Shard, first: int, last: int) -> str:
    table_first, table_last = shard.first_row + first, shard.first_row + last
    if first == last:
        return f"row {first} (row {table_first} of the table)"
    return f"rows {first} to {last} (rows {table_first} to {table_last} of the table)"


def _told(problems: Iterator[str]) -> list[str]:
    """Returns the first few problems, and how many more there are."""
    texts = [text for text in problems]
    more = [f"{len(texts) - _MOST_ROWS_TOLD} more rows like these"] if len(texts) > _MOST_ROWS_TOLD else []
    return texts[:_MOST_ROWS_TOLD] + more


def _image_of(images: Array, flips: bool) -> tuple[Array, Array]:
    """Returns (sample, flip) of numbers of images, where each is followed by its mirror image if there are any."""
    return (images // 2, images % 2) if flips else (images, np.zeros_like(images))


def _said(provenance: dict[str, Any], key: str, otherwise: Any, least: int = 0) -> Any:
    """Returns what provenance says, of the type of `otherwise`, and not less than `least`."""
    value = provenance.get(key, otherwise)
    if type(value) is not type(otherwise) or (isinstance(value, int) and value < least):
        kind = {bool: "true or false", int: f"a whole number from {least} on", str: "a text"}[type(otherwise)]
        raise TableError(f"its provenance has {_json_text.excerpt(value)} as {key}, expected {kind}")
    return value


def _coupling_problems(shard: Shard) -> list[str]:
    replicates, flips = _said(shard.provenance, "replicates", 1, least=1), _said(shard.provenance, "flips", False)
    numbers = shard.first_row + np.arange(shard.rows)
    sample, flip = _image_of(numbers // replicates, flips)
    expected = (sample, flip, numbers % replicates)
    found = [shard.read(name) for name in ("sample", "flip", "replicate")]
    found[1] = (found[1] != 0).astype(np.uint8)
    label, stored_flip = shard.read("label"), shard.read("flip")
    placed = np.all([one == other for one, other in zip(found, expected)], axis=0)

    def problems() -> Iterator[str]:
        for row in np.flatnonzero(~placed | (label < 0)):
            if placed[row]:
                yield f"row {row} has label {label[row]}"
            else:
                yield (
                    f"row {row} is sample {found[0][row]}, flip {stored_flip[row]}, replicate {found[2][row]}; "
                    "expected " + ", ".join(str(values[row]) for values in expected)
                )

    return _told(problems())


def _loom(provenance: dict[str, Any]) -> tuple[int, bool, int]:
    """Returns (slots, flips, generation) of a table of kind loom; 0 slots of others."""
    if _said(provenance, "kind", "") != "loom":
        return 0, False, 0
    return _said(provenance, "slots", 0), _said(provenance, "flips", False), _said(provenance, "generation", 0)


def _seeds_problems(shard: Shard) -> list[str]:
    label, noise = shard.read("label"), shard.read("noise_id")
    sample, flip = shard.read("sample"), shard.read("flip")
    slots, flips, _ = _loom(shard.provenance)
    numbers = shard.first_row + np.arange(shard.rows)

    def place(row: int) -> str:
        return f"sample {sample[row]}, flip {flip[row]}, noise {noise[row]}"

    def problems() -> Iterator[str]:
        for row in range(shard.rows):
            if label[row] < 0:
                yield f"row {row} has label {label[row]}"
            elif noise[row] < 0 or sample[row] < 0 or flip[row] > 1:
                yield f"row {row} is {place(row)}: none of these is below 0, and flip is 0 or 1"
            elif row > 0 and not _before(sample, flip, noise, row - 1, row):
                yield f"row {row} is {place(row)}, but stands behind {place(row - 1)}"
            elif slots >= 1:
                own, mirrored = _image_of(numbers[row] // slots, flips)
                if (sample[row], flip[row] != 0) != (own, mirrored != 0):
                    yield (
                        f"row {row} is {place(row)}; expected sample {own}, flip {mirrored}, as each image has {slots} "
                        "noises"
                    )

    return _told(problems())


def _before(sample: Array, flip: Array, noise: Array, row: int, other: int) -> bool:
    return (int(sample[row]), int(flip[row]), int(noise[row])) < (
        int(sample[other]),
        int(flip[other]),
        int(noise[other]),
    )


def _seeds_table_problems(table: Table) -> list[str]:
    def problems() -> Iterator[str]:
        last = (-1, 0, 0)
        for index in range(table.shards):
            shard = table.shard(index)
            for row in (0, shard.rows - 1):
                sample, flip, noise = (int(shard.read(name, row, 1)[0]) for name in ("sample", "flip", "noise_id"))
                if row == 0 and last >= (sample, flip, noise):
                    place = f"sample {sample}, flip {flip}, noise {noise}"
                    yield f"shard {index} begins with {place}, which stands not behind the shard before it"
                last = (sample, flip, noise)
        ids = np.sort(table.read("noise_id"))
        for noise in ids[1:][ids[1:] == ids[:-1]]:
            yield f"noise {noise} belongs to two rows"
        slots, _, generation = _loom(table.provenance)
        first = generation * table.rows
        if slots > 0 and (ids[0] < first or ids[-1] >= first + table.rows):
            yield (
                f"its noises are {ids[0]} to {ids[-1]}; generation {generation} of {table.rows} has {first} to "
                f"{first + table.rows - 1}"
            )

    return _told(problems())
