"""Couplet's tables of noise and images in Python: read, checked, shuffled for training, and written.

`Table` opens a coupling table, a data set or one shard; `verify` looks for everything that is wrong with one;
`BlockLoader` gives shuffled batches; `write_coupling` makes a table of arrays that Couplet trains from. PyTorch's data
sets are in `couplet_table.torch`. docs/coupling-table.md and docs/row-shards.md of Couplet specify the format.
"""

from ._version import __version__
from .errors import TableError
from .loader import BlockLoader
from .order import RowOrder, numbered_noise
from .shard import Column, Shard
from .table import Table
from .verify import Problem, verify
from .writer import ShardWriter, publish_manifest, write_coupling

__all__ = [
    "BlockLoader",
    "Column",
    "Problem",
    "RowOrder",
    "Shard",
    "ShardWriter",
    "Table",
    "TableError",
    "__version__",
    "numbered_noise",
    "publish_manifest",
    "verify",
    "write_coupling",
]
