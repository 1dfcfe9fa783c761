"""What this package raises about files."""

from __future__ import annotations


class TableError(Exception):
    """A table, or a file of one, that cannot be read or written. The message names it, what was found and expected."""
