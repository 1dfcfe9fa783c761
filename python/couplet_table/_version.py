"""The version of this package, which is that of the program whose tables it reads and writes."""

__version__ = "0.2.0"
