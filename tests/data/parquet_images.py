#!/usr/bin/env python3
"""Writes tests/data/parquet/*.parquet, with pyarrow: images as data sets of Hugging Face have them.

Row i of 60: byte j of 10 + 37 i mod 200 of its image is (7 i + 3 j) mod 256, and its label is i mod 3.
"""
import json
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent / "parquet"
ROWS = 60
# Several pages of each column; of "snappy", dictionaries that are given up.
PAGES = {"data_page_size": 600, "write_batch_size": 4}


def image(i):
    return bytes((7 * i + 3 * j) % 256 for j in range(10 + 37 * i % 200))


def table(labels=None, images=None, label_type=pa.int64(), names=("cat", "dog", "fox")):
    images = [{"bytes": image(i), "path": f"{i}.png"} for i in range(ROWS)] if images is None else images
    labels = [i % 3 for i in range(len(images))] if labels is None else labels
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", label_type)],
                       metadata={"huggingface": json.dumps({"info": {"features": features}})})
    return pa.Table.from_arrays([pa.array(images, schema.field(0).type), pa.array(labels, label_type)], schema=schema)


def write(name, data, **options):
    pq.write_table(data, FOLDER / f"{name}.parquet", **options)


FOLDER.mkdir(exist_ok=True)
write("snappy", table(), row_group_size=25, dictionary_pagesize_limit=1000, **PAGES)
write("plain", table(), compression="none", use_dictionary=False, **PAGES)
write("gzip_v2", table(), compression="gzip", data_page_version="2.0", row_group_size=25, **PAGES)
write("snappy_v2", table(label_type=pa.int32()), data_page_version="2.0", use_dictionary=False, **PAGES)
repeated = [{"bytes": image(i % 4), "path": None} for i in range(ROWS)]
write("dictionary", table(images=repeated))
write("zstd", table(), compression="zstd")
write("delta", table(), use_dictionary=False, column_encoding={"label": "DELTA_BINARY_PACKED"})
write("missing", table(images=[{"bytes": None if i == 7 else image(i), "path": f"{i}.png"} for i in range(ROWS)],
                       labels=[None if i == 9 else i % 3 for i in range(ROWS)]))
write("negative", table(labels=[-1 if i == 9 else i % 3 for i in range(ROWS)]))
unnamed = table().rename_columns(["picture", "kind"]).replace_schema_metadata({})
write("unnamed", unnamed)
pq.write_table(pa.table({"a": [1.5], "b": [[1, 2]], "image": ["x"], "img": ["y"]}), FOLDER / "unclear.parquet")

# What the fuzz target of these files starts from.
CORPUS = pathlib.Path(__file__).parent.parent / "fuzz" / "corpus" / "parquet"
CORPUS.mkdir(exist_ok=True)
for name in ("dictionary", "gzip_v2", "missing", "snappy_v2"):
    shutil.copyfile(FOLDER / f"{name}.parquet", CORPUS / name)
