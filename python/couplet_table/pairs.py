"""Noise, images and labels that a table is to be made of: what is accepted, and how it is stored, as `couplet import`
does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import numpy as np

from . import _xxh3
from .errors import TableError
from .shard import Array, Column

_BYTES_AT_ONCE = 16 << 20
_WIDEST_SEEN = 100  # images and latents as models see them stay within; grey values that are not whole do not


class Rows(Protocol):
    """What rows are taken from, slice by slice: a numpy array, a memory map, a data set of h5py."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The rows first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Reads rows."""


class Pairs:
    """Arrays that were found to be pairs, and their rows as the columns of a table."""

    def __init__(self, what: str, noises: Any, images: Any, labels: Any) -> None:
        self.what = what
        self.noise = noise = self._as_rows("noise", noises)
        self.image = image = self._as_rows("image", images)
        self.label = label = None if labels is None else self._as_rows("label", labels)
        shape = tuple(noise.shape)
        if noise.dtype.kind != "f" or len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
            self._refuse("noise", noise, "float16, float32 or float64 [rows, channels, size, size]")
        if tuple(image.shape) != shape or not (image.dtype == np.uint8 or image.dtype.kind == "f"):
            self._refuse("image", image, f"uint8 or floats {list(shape)}, the shape of noise")
        if label is not None and (tuple(label.shape) != shape[:1] or label.dtype.kind not in "iu"):
            self._refuse("label", label, f"integers [{shape[0]}], one for each row of noise")
        self.rows = shape[0]
        self._image_type = "uint8" if image.dtype == np.uint8 else _stored_float(image)
        self._are_grey = self._image_type != "uint8" and self._floats_are_grey()
        image_type = "uint8" if self._are_grey else self._image_type
        self.columns = [
            Column(
                "noise",
                _stored_float(noise),
                shape[1:],
                "noise of the pair as the source has it; divide by the manifest's sigma_f for unit variance",
            ),
            Column(
                "image",
                image_type,
                shape[1:],
                (
                    "image of the pair, grey values 0-255"
                    if image_type == "uint8"
                    else "image of the pair as models see it, on [-1, 1]"
                ),
            ),
            Column("label", "int32", (), "class, from 0"),
            Column("sample", "int64", (), "row of the source"),
            Column("flip", "uint8", (), "1: mirrored left to right"),
            Column("replicate", "int32", (), "which draw of the teacher's noise, from 0"),
        ]

    def _as_rows(self, name: str, array: Any) -> Rows:
        """Returns what has a type of numpy's as it is, and of tensors and lists the array."""
        if isinstance(getattr(array, "dtype", None), np.dtype):
            return cast(Rows, array)
        try:
            return np.asarray(array)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TableError(
                f"{self.what}: array '{name}' of type {type(array).__name__} is nothing that numpy takes: {error}; "
                "expected an array, a list of rows of one shape, or a tensor of the CPU of a type that numpy has: "
                "tensor.detach().float().cpu()"
            ) from error

    def _floats_are_grey(self) -> bool:
        """Whether the first images of floats are grey values, whole and up to 255. Else some value must be below 0."""
        row_bytes = int(np.prod(self.image.shape[1:])) * np.dtype(self._image_type).itemsize
        with np.errstate(over="ignore"):
            first = np.asarray(self.image[: max(1, _BYTES_AT_ONCE // row_bytes)], self._image_type)
        if _is_grey(first).all() and (first >= 2).any():
            return True
        if not (first < 0).any():
            self._refuse(
                "image",
                self.image,
                "images on [-1, 1] (of images on [0, 1], 2 * x - 1), of which some value is below 0, or grey values, "
                "whole numbers from 0 to 255",
            )
        return False

    def _refuse(self, name: str, array: Rows, expected: str) -> None:
        raise TableError(f"{self.what}: array '{name}' is {array.dtype} {list(array.shape)}; expected {expected}")

    def slices(self, first: int, rows: int, block_rows: int) -> Iterator[tuple[int, dict[str, Array]]]:
        """Gives (first row, columns noise, image and label) of whole blocks of the rows from `first` on."""
        row_bytes = sum(column.row_bytes for column in self.columns)
        step = max(1, _BYTES_AT_ONCE // (row_bytes * block_rows)) * block_rows
        for start in range(first, first + rows, step):
            yield start, self._read(start, min(start + step, first + rows))

    def _read(self, start: int, stop: int) -> dict[str, Array]:
        with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite
            noise = np.ascontiguousarray(self.noise[start:stop], self.columns[0].dtype)
            image = np.ascontiguousarray(self.image[start:stop], self._image_type)
        self._require(
            np.isfinite(noise), "noise", start, "NaN, infinite values or values beyond float32", "finite ones"
        )
        if self._are_grey:
            expected = "whole numbers from 0 to 255, as the first rows hold"
            self._require(_is_grey(image), "image", start, "other values", expected)
            image = image.astype("u1")
        elif image.dtype.kind == "f":
            expected = "images on [-1, 1] or thereabouts, or grey values as uint8"
            self._require(np.abs(image) <= _WIDEST_SEEN, "image", start, "values that no model sees", expected)
        if self.label is None:
            return {"noise": noise, "image": image, "label": np.zeros(stop - start, "<i4")}
        label = np.asarray(self.label[start:stop])
        self._require((label >= 0) & (label < 2**31), "label", start, "a label out of range", "0 to 2147483647")
        return {"noise": noise, "image": image, "label": label.astype("<i4")}

    def _require(self, good: Array, name: str, start: int, found: str, expected: str) -> None:
        rows = good.reshape(len(good), -1).all(axis=1)
        if not rows.all():
            row = start + int(np.argmin(rows))
            raise TableError(f"{self.what}: array '{name}': row {row} holds {found}; expected {expected}")

    def source_hash(self) -> str:
        """Returns the XXH3-128 of all noise, then all images, then all labels."""
        whole = _xxh3.new_hash128()
        for name in ("noise", "image", "label"):
            for _, columns in self.slices(0, self.rows, 1):
                whole.update(columns[name].reshape(-1).view(np.uint8))
        return whole.hexdigest()


def _is_grey(values: Array) -> Array:
    return np.asarray((values >= 0) & (values <= 255) & (values == np.floor(values)))


def _stored_float(array: Rows) -> str:
    return "float16" if array.dtype.itemsize == 2 else "float32"
