"""What `with` closes."""

from __future__ import annotations

import os
from typing import TypeVar

_Self = TypeVar("_Self", bound="Closing")


class Closing:
    """Something that is closed where its `with` ends."""

    def close(self) -> None:
        """Closes it."""
        raise NotImplementedError

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OpenFile(Closing):
    """Holds the descriptor of a file, which is closed with it at the latest."""

    _file = -1

    def close(self) -> None:
        """Closes the file; it can be neither read nor written any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.close()
