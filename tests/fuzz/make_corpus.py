#!/usr/bin/python3
"""Writes the seeds of the fuzz targets anew: small files that are valid, nearly valid, or were crafted to do harm.

    tests/fuzz/make_corpus.py build/couplet

Inputs that a fuzzer found, and others that no function here makes, stand beside them and are left alone.
"""
import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib

import h5py
import numpy

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
GENERATOR = numpy.random.default_rng(18)


def write(target, name, content):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype("float32")


def pixels(*shape):
    return GENERATOR.integers(0, 256, shape).astype("uint8")


# safetensors -----------------------------------------------------------------------------------------------------------

def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    all_types = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in [("U8", 1), ("I32", 4), ("I64", 8), ("F16", 2), ("BF16", 2), ("F32", 4), ("F64", 8)]:
        all_types[f"blocks.0.{name}"] = tensor(name, [3], end, end + 3 * size)
        end += 3 * size
    write("safetensors", "types", safetensors(all_types, bytes(end)))
    write("safetensors", "scalar-and-empty",
          safetensors({"a": tensor("F32", [], 0, 4), "b": tensor("F32", [0, 2], 4, 4)}, b"\0\0\x80\x3f"))
    write("safetensors", "metadata-alone", safetensors({"__metadata__": {}}))
    write("safetensors", "overlap", safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, bytes(6)))
    write("safetensors", "hole", safetensors({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 4, 6)}, bytes(6)))
    write("safetensors", "twice", safetensors(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'))
    write("safetensors", "huge-shape", safetensors({"a": tensor("F64", [2**62, 4], 0, 0)}))
    write("safetensors", "negative", safetensors({"a": tensor("U8", [-1], 0, -1)}))
    write("safetensors", "huge-header", struct.pack("<Q", 2**40) + b"{}")
    write("safetensors", "deep", safetensors(b'{"a":' + b"[" * 3000))
    write("safetensors", "deep-metadata", safetensors(b'{"__metadata__":' + b'{"a":' * 500))
    write("safetensors", "no-utf8", safetensors(b'{"\xff":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'))


# State dicts of PyTorch ----------------------------------------------------------------------------------------------

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value):
    return b"J" + struct.pack("<i", value)


def wholes(*values):
    return b"(" + b"".join(map(whole, values)) + b"t"


def items(**values):
    return b"(" + b"".join(text(name) + value for name, value in values.items()) + b"u"


def torch_tensor(shape, strides, offset=0, kind="Float", key="0", elements=6, function="_rebuild_tensor_v2"):
    return (b"ctorch._utils\n" + function.encode() + b"\n((" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key)
            + text("cpu") + whole(elements) + b"tQ" + whole(offset) + wholes(*shape) + wholes(*strides) + b"\x89" + ORDERED_DICT
            + b"tR")


def pickled(value):
    return b"\x80\x02" + value + b"."


def torch_archive(value, method=zipfile.ZIP_STORED, **members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in {"data.pkl": pickled(value), "byteorder": "little", "data/0": bytes(range(24)), **members}.items():
            file.writestr(zipfile.ZipInfo("m/" + name), content, method)
    return out.getvalue()


def make_state_dicts():
    """Pickles, which the target puts into a sound archive with storages of 24, 8 and 0 bytes, and whole archives."""
    weight = torch_tensor((2, 3), (3, 1))
    metadata = b"}" + items(_metadata=ORDERED_DICT + b"q\1" + items(a=b"}" + text("version") + b"K\1s")) + b"b"
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + weight + b"\x88" + ORDERED_DICT + b"tR"
    kinds = {kind: torch_tensor((24 // size,), (1,), kind=kind, elements=24 // size)
             for kind, size in [("Byte", 1), ("Int", 4), ("Long", 8), ("Half", 2), ("BFloat16", 2), ("Float", 4), ("Double", 8), ("Bool", 1)]}
    for name, value in [
            ("ordered", ORDERED_DICT + items(a=weight, b=parameter) + metadata), ("plain", b"}" + items(a=weight)),
            ("types", b"}" + items(**{name: value for name, value in kinds.items() if name != "Bool"})), ("bool", b"}" + items(a=kinds["Bool"])),
            ("strided", b"}" + items(a=torch_tensor((3, 2), (1, 3)), b=torch_tensor((2, 2), (0, 0), offset=5), c=torch_tensor((), (), offset=3))),
            ("empty", b"}" + items(a=torch_tensor((0, 2**31 - 1), (1, 1), key="2", elements=0))),
            ("remembered", b"}(" + text("a") + weight + b"q\5" + text("b") + b"h\5" + text("c") + b"j\5\0\0\0u"),
            ("typed-dict", b"ctorch.jit._pickle\nrestore_type_tag\n(}" + items(a=weight) + text("Dict[str, Tensor]") + b"tR"),
            ("checkpoint", b"}" + items(model=b"}" + items(a=weight), rate=b"G" + bytes(8), rates=b"](K\1M\1\0e", big=b"\x8a\5\0\0\0\0\1",
                                        none=b"N", pair=b"NN\x86", list=b"]Na")),
            ("beyond", b"}" + items(a=torch_tensor((2, 3), (2**31 - 1, 2**31 - 1)))),
            ("expanded", b"}" + items(a=torch_tensor((2**31 - 1,) * 4, (0, 0, 0, 0)))),
            ("negative", b"}" + items(a=torch_tensor((-2, 3), (3, -1), offset=-1))), ("itself", b"}q\1" + text("a") + b"h\1s"),
            ("shared", b"}(" + text("a") + weight + b"q\5" + b"".join(text(str(i)) + b"h\5" for i in range(1000)) + b"u"),
            ("system", b"cposix\nsystem\n(" + text("true") + b"tR"), ("object", b"ccollections\nOrderedDict\n)\x81"), ("deep", b")" * 3000 + b"\x86" * 2999),
            ("quantised", b"}" + items(a=torch_tensor((6,), (1,), kind="QInt8", function="_rebuild_qtensor")))]:
        write("state_dict", name, pickled(value))
    state = ORDERED_DICT + items(a=weight, b=torch_tensor((2,), (1,), kind="Int", key="1", elements=2))
    write("state_dict", "archive", torch_archive(state, **{"data/1": bytes(8)}))
    write("state_dict", "archive-compressed", torch_archive(state, zipfile.ZIP_DEFLATED))
    write("state_dict", "big-endian", torch_archive(state, byteorder="big"))
    write("state_dict", "program", torch_archive(state, **{"constants.pkl": b""}))
    write("state_dict", "before-1.6", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + pickled(b"}"))


# npz -------------------------------------------------------------------------------------------------------------------

def npz(compressed=False, **arrays):
    out = io.BytesIO()
    (numpy.savez_compressed if compressed else numpy.savez)(out, **arrays)
    return out.getvalue()


def npy(array):
    out = io.BytesIO()
    numpy.save(out, array)
    return out.getvalue()


def npy_with(header, data=b"", version=1):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


def archive(method, **entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name + ".npy", content)
    return out.getvalue()


def make_npz():
    write("npz", "pairs", npz(noise=normal(2, 1, 4, 4), image=pixels(2, 1, 4, 4), label=numpy.arange(2)))
    write("npz", "images-packed", npz(True, arr_0=pixels(2, 4, 4, 3), arr_1=numpy.arange(2)))
    write("npz", "statistics", npz(True, mu=numpy.zeros(4), sigma=numpy.eye(4)))
    sound = npy(numpy.arange(6, dtype="int16").reshape(2, 3))
    write("npz", "bzip2", archive(zipfile.ZIP_BZIP2, a=sound))
    write("npz", "lzma", archive(zipfile.ZIP_LZMA, a=sound))
    write("npz", "zeros-packed", npz(True, a=numpy.zeros((1000, 100), "uint8")))
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as file:
        file.writestr("a.npy", sound)
        file.writestr("b.npy", sound)
    write("npz", "twice", twice.getvalue().replace(b"b.npy", b"a.npy"))
    for name, method in [("nested", zipfile.ZIP_STORED), ("nested-packed", zipfile.ZIP_DEFLATED)]:
        nested = io.BytesIO()
        with zipfile.ZipFile(nested, "w", method) as file:
            file.writestr("7_noise.npy", sound)
            file.writestr("a/8.npz", npz(noise=normal(2, 1, 4, 4)))
            file.writestr("9.npz", b"no archive")
        write("npz", name, nested.getvalue())
    write("npz", "cut", npz(a=normal(8))[:-30])
    # A few packed bytes that claim a terabyte: the sizes stand in both headers.
    claimed = archive(zipfile.ZIP_DEFLATED, a=npy_with("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4000000000), }"))
    size = struct.pack("<I", len(npy_with("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4000000000), }")))
    write("npz", "claims-gigabytes", claimed.replace(size + b"\5\0", struct.pack("<I", 4_000_000_000 + 74) + b"\5\0"))
    for name, array in [("scalar", numpy.float32(3)), ("empty", numpy.zeros((0, 3), "f8")), ("bool", numpy.ones(3, bool)),
                        ("big-endian", numpy.zeros(2, ">f4")), ("records", numpy.zeros(2, "i4,f4")),
                        ("fortran", numpy.asfortranarray(numpy.zeros((2, 3)))), ("text", numpy.array(["ab"])),
                        ("float16", numpy.ones((2, 2), "f2"))]:
        write("npz", "array-" + name, npy(array))
    plain = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    write("npz", "array-version-2", npy_with(plain, bytes(8), 2))
    write("npz", "array-version-3", npy_with(plain, bytes(8), 3))
    write("npz", "array-long-descr", npy_with("{'descr': '" + "<" * 6000 + "f4', 'fortran_order': False, 'shape': (2,), }"))
    write("npz", "array-long-shape", npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (" + " " * 6000 + "2,), }"))
    write("npz", "array-huge", npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }"))
    write("npz", "array-beyond-64-bits", npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }"))
    write("npz", "array-huge-and-empty", npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 0), }"))


# IDX -------------------------------------------------------------------------------------------------------------------

def idx(shape, data, kind=8):
    return bytes([0, 0, kind, len(shape)]) + b"".join(struct.pack(">I", extent) for extent in shape) + data


def make_idx():
    images = idx([3, 4, 4], pixels(3, 4, 4).tobytes())
    write("idx", "images", images)
    write("idx", "labels", idx([5], bytes(range(5))))
    write("idx", "images.gz", gzip.compress(images, mtime=0))
    write("idx", "padded.gz", gzip.compress(images, mtime=0) + bytes(100))
    write("idx", "two-members.gz", gzip.compress(images[:20], mtime=0) + gzip.compress(images[20:], mtime=0))
    write("idx", "cut.gz", gzip.compress(images, mtime=0)[:-12])
    write("idx", "damaged.gz", gzip.compress(images, mtime=0)[:-6] + b"xxxxxx")
    write("idx", "no-rows", idx([0, 4, 4], b""))
    write("idx", "no-pixels", idx([3, 0, 4], b""))
    write("idx", "floats", idx([1], bytes(4), 0x0D))
    write("idx", "cut", images[:-1])
    write("idx", "trailing", images + b"\0")
    write("idx", "bomb.gz", gzip.compress(idx([2, 4, 4], bytes(4_000_000)), mtime=0))
    write("idx", "claims-terabytes.gz", gzip.compress(idx([1, 2**20, 2**20], bytes(64)), mtime=0))
    write("idx", "overflow", idx([2**31] * 4, b""))
    write("idx", "many-axes", idx([1] * 255, b"\0"))


# PNG -------------------------------------------------------------------------------------------------------------------

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, colour, data, before=b"", interlaced=0):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data))
            + chunk(b"IEND", b""))


def make_png():
    for name, depth, colour, row in [("grey", 8, 0, 4), ("rgb", 8, 2, 12), ("grey-alpha", 8, 4, 8), ("rgba", 8, 6, 16),
                                     ("grey-16", 16, 0, 8), ("rgb-16", 16, 2, 24), ("grey-1", 1, 0, 1), ("grey-2", 2, 0, 1),
                                     ("grey-4", 4, 0, 2)]:
        data = b"".join(bytes([line % 5]) + pixels(row).tobytes() for line in range(4))
        write("png", name, png(4, 4, depth, colour, data))
    palette = chunk(b"PLTE", bytes(range(12)))
    indices = b"".join(b"\0" + bytes([0, 1, 2, 3]) for _ in range(4))
    write("png", "palette", png(4, 4, 8, 3, indices, palette))
    write("png", "palette-transparent", png(4, 4, 8, 3, indices, palette + chunk(b"tRNS", b"\0\x80")))
    write("png", "grey-transparent", png(4, 4, 8, 0, indices, chunk(b"tRNS", b"\0\x01")))
    write("png", "palette-missing", png(4, 4, 8, 3, indices))
    write("png", "palette-beyond", png(4, 4, 8, 3, indices, chunk(b"PLTE", bytes(3))))
    write("png", "gamma", png(4, 4, 8, 0, indices, chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sRGB", b"\0")))
    write("png", "exif-of-a-gigabyte", png(4, 4, 8, 0, indices)[:33] + struct.pack(">I", 0x3F00000D) + b"eXIf" + bytes(40))
    passes = b"\0\1" + b"\0\1" + b"\0\1\2" + b"\0\1\2" * 2 + b"\0\1\2\3\4" * 2
    write("png", "interlaced", png(4, 4, 8, 0, passes, interlaced=1))
    write("png", "no-pixels", png(0, 8, 8, 0, b""))
    write("png", "bomb", png(16384, 16384, 8, 0, bytes(1000)))
    write("png", "bomb-one-bit-palette", png(16384, 16384, 1, 3, bytes(1000), chunk(b"PLTE", bytes(6))))
    write("png", "widest", png(2**31 - 1, 1, 8, 0, bytes(10)))
    write("png", "negative", png(2**32 - 1, 2**32 - 1, 8, 0, bytes(10)))
    write("png", "cut", png(4, 4, 8, 0, indices)[:-20])
    write("png", "too-few-rows", png(4, 4, 8, 0, indices[:5]))
    write("png", "text-bomb", png(4, 4, 8, 0, indices, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000)))))
    write("png", "profile", png(4, 4, 8, 0, indices, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1000)))))


# Images in memory -------------------------------------------------------------------------------------------------------

def make_image():
    with numpy.load(CORPUS.parent.parent / "data/reference/images.npz") as images:
        for name in images.files:
            if name.endswith(".encoded") and (not name.startswith("png") or "true" in name or "palette" in name):
                write("image", name.removesuffix(".encoded"), images[name].tobytes())
    animation = b"VP8X\x0a\0\0\0\2\0\0\0\7\0\0\7\0\0ANIM" + b"\6\0\0\0\0\0\0\0\0\0"
    write("image", "webp-animation", b"RIFF" + struct.pack("<I", 4 + len(animation)) + b"WEBP" + animation)
    write("image", "gif", b"GIF89a\1\0\1\0")


# HDF5 ------------------------------------------------------------------------------------------------------------------

def hdf5(fill, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.h5"
        with h5py.File(path, "w", **options) as file:
            fill(file)
        return path.read_bytes()


def fill_pairs(file, **options):
    file.create_dataset("noise", data=normal(2, 1, 2, 2), **options)
    file.create_dataset("image", data=pixels(2, 1, 2, 2), **options)
    file.create_dataset("label", data=numpy.arange(2), **options)


def fill_links(file):
    file["plain"] = numpy.int32([1, 2])
    file["pairs/inner"] = numpy.int32([3, 4])
    file["soft"] = h5py.SoftLink("/pairs/inner")
    file["outside"] = h5py.ExternalLink("gone.h5", "/there")
    file["circle"] = h5py.SoftLink("/circle")
    file["type"] = file["plain"].dtype


def fill_groups(file):
    for row in range(3):
        group = file.create_group(str(row))
        for name in ("source", "target"):
            group.create_dataset(name, data=numpy.repeat(normal(1, 4, 1), 4, 2), compression="lzf")


def fill_types(file):
    file["text"] = "hello"
    file["truth"] = numpy.zeros(3, bool)
    file["complex"] = numpy.zeros(3, "c8")
    file["big"] = numpy.arange(3, dtype=">i4")
    file["empty"] = h5py.Empty("f4")
    file["scalar"] = numpy.float64(3)


def fill_virtual(file):
    file["source"] = numpy.arange(4)
    layout = h5py.VirtualLayout(shape=(4,), dtype="i8")
    layout[:] = h5py.VirtualSource(".", "source", shape=(4,))
    file.create_virtual_dataset("virtual", layout)


def make_hdf5():
    for name, version in [("", "earliest"), ("-latest", "latest")]:
        write("hdf5", "plain" + name, hdf5(fill_pairs, libver=version))
        write("hdf5", "chunked" + name, hdf5(lambda file: fill_pairs(file, compression="gzip", shuffle=True,
                                                                     fletcher32=True), libver=version))
        write("hdf5", "links" + name, hdf5(fill_links, libver=version))
        write("hdf5", "groups" + name, hdf5(fill_groups, libver=version))
    write("hdf5", "types", hdf5(fill_types, libver="latest"))
    write("hdf5", "virtual", hdf5(fill_virtual, libver="latest"))
    write("hdf5", "unwritten", hdf5(lambda file: file.create_dataset("a", (2, 2), "f4"), libver="latest"))
    write("hdf5", "claims-terabytes", hdf5(lambda file: file.create_dataset("a", (1, 2**20, 2**20), "u1", chunks=(1, 16, 16)),
                                           libver="latest"))
    write("hdf5", "user-block", hdf5(fill_pairs, userblock_size=512, libver="latest"))
    write("hdf5", "signature-alone", b"\x89HDF\r\n\x1a\n")


# What the program writes itself ----------------------------------------------------------------------------------------

def make_tables(couplet):
    with tempfile.TemporaryDirectory() as folder:
        rows = pathlib.Path(folder) / "rows.npz"
        rows.write_bytes(npz(noise=normal(3, 1, 2, 2), image=pixels(3, 1, 2, 2), label=numpy.arange(3)))
        subprocess.run([couplet, "import", rows, "--output", pathlib.Path(folder) / "table", "--shard-rows", "2",
                        "--block-rows", "2"], check=True, stdout=subprocess.DEVNULL)
        table = pathlib.Path(folder) / "table"
        shards = sorted(table.glob("*.h5"))
        for number, shard in enumerate(shards):
            write("shard", f"coupling-{number}", shard.read_bytes())
        write("shard", "cut", shards[0].read_bytes()[:-100])
        manifest = (table / "manifest.json").read_text()
    write("manifest", "coupling", manifest)
    write("manifest", "another-programs", '{"name": "an app", "icons": []}')
    write("manifest", "deep", '{"format": ' + "[" * 3000)
    write("manifest", "list", "[]")
    for name, changes in [("huge-rows", {"rows": 2**63 - 1, "shard_rows": 2**62}), ("no-rows", {"rows": 0}),
                          ("fractions", {"rows": 3.5}), ("infinite-rows", {"rows": 1e300}), ("no-shards", {"shards": {}}),
                          ("null-provenance", {"provenance": None}), ("newer", {"format_version": 99}),
                          ("number-for-shard", {"shards": [1, 2]}), ("columns-of-anything", {"columns": [1, "a", {}]})]:
        write("manifest", name, json.dumps({**json.loads(manifest), **changes}))


def make_records():
    record = {"model": "student", "student": "nf", "coupling": "nf", "seed": 0, "solver": "euler", "grid": "uniform", "nfe": 2,
              "noise": "fresh", "split": "", "guidance": 1.0, "guidance_interval": [0.0, 1.0], "denoised": False,
              "metric": "frechet_distance", "ema": 0.99, "sampling_seed": 0, "value": 12.5, "samples": 500, "network": "n",
              "network_hash": "0123", "resize": "", "nonfinite_samples": 0, "made_with": {"teacher": "ab"}}
    write("records", "scores", json.dumps({"records": [record, {**record, "value": None, "times": [0, 1]}]}))
    for name, records in [("numbers", [1, "a", None]), ("other-types", [{**record, "seed": 1e300, "nfe": 2.5}]),
                          ("made-with-a-number", [{**record, "made_with": 3}]), ("object", {}), ("lists", [[[]]]),
                          ("large-numbers", [{**record, "seed": 2**64 - 1, "sampling_seed": 2**63}])]:
        write("records", "scores-" + name, json.dumps({"records": records}))
    stage = {"format": "couplet-stage", "format_version": 1, "stage": "teacher", "state": "complete", "fingerprint": "ab",
             "keys": {"teacher.blocks": "2"}, "inputs": {"prepare": "cd"}, "program": "0.1.0", "attempts": 1,
             "seconds": 12.5, "running_since": 0.0, "ranks": 2}
    write("records", "stage", json.dumps(stage))
    for name, changes in [("newer", {"format_version": 2}), ("huge-version", {"format_version": 1e300}),
                          ("wrapped-version", {"format_version": 2**32 + 1}), ("state", {"state": "gone"}),
                          ("keys", {"keys": [["a", "b"]]}), ("infinite-attempts", {"attempts": 1e300})]:
        write("records", "stage-" + name, json.dumps({**stage, **changes}))
    write("records", "deep", '{"records": ' + "[" * 3000)
    write("records", "twice", '{"records": [], "records": []}')
    write("records", "infinite", '{"records": [{"value": 1e999}]}')


def make_ini():
    smoke = (CORPUS.parents[2] / "configs" / "fashion-smoke.ini").read_text()
    write("ini", "smoke", smoke)
    write("ini", "byte-order-mark", b"\xef\xbb\xbf" + smoke[200:600].encode())
    write("ini", "crlf", smoke.replace("\n", "\r\n"))
    write("ini", "utf-16", "[teacher]\nblocks = 2\n".encode("utf-16"))
    write("ini", "empty", "")
    write("ini", "students", "[student]\ncompare = nf wide\n[student.wide]\ncoupling = nf\nchannels = 96\nema = 0.9 0.99\n")
    write("ini", "twice", "[teacher]\nblocks = 2\nblocks = 3\n")
    write("ini", "no-utf8", b"[prepare]\nname = Gr\xf6sse\nsource = /tmp/\xfc\n")
    write("ini", "comment-in-value", "[prepare]\nname = a#b\n")
    write("ini", "quotes", "[prepare]\nname = \"a 'b'\" \\\nsource = a b\n")
    write("ini", "lists", "[evaluate]\neuler-nfe = 1 2 4\ntimes = 0 0.5 1\nguidance = 1 1.5e0\ngrids = uniform\n")
    write("ini", "numbers", "[pipeline]\nseed = 99999999999999999999\ntimeout = 1e999\nranks = -1\nbucket-size = nan\n")
    write("ini", "hexadecimal", "[pipeline]\nseed = 0x10\nthreads = 1.5\ntimeout = 0x1p3\n")
    write("ini", "no-section", "blocks = 2\n[]\n = 3\n[a.b]\nc\n")
    write("ini", "long", "[prepare]\nname = " + "a" * 3000 + "\n")
    write("ini", "long-path", "[teacher]\ninit = " + "a" * 300 + "\n")


# archives and their labels ---------------------------------------------------------------------------------------------

def tar_of(files, format):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        folder = tarfile.TarInfo("empty")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    written = buffer.getvalue().rstrip(b"\0")
    return written + bytes(-len(written) % 512 + 1024)  # without the padding to 20 blocks


def zip_of(files, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("empty/", b"")
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def make_archives():
    files = {"b/2.png": b"two", "a/1.png": b"one" * 100, "a/.hidden": b"", "\u6587 x.png": b"three"}
    write("archive", "stored.zip", zip_of(files, zipfile.ZIP_STORED))
    write("archive", "deflated.zip", zip_of(files, zipfile.ZIP_DEFLATED))
    write("archive", "bomb.zip", zip_of({"a": bytes(3 << 20)}, zipfile.ZIP_DEFLATED))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a", "w", force_zip64=True) as file:
        file.write(b"alpha")
    write("archive", "zip64.zip", buffer.getvalue())
    body = b"PK\3\4" + struct.pack("<5H3I2H", 45, 0, 0, 0, 0, 0x8587d865, 5, 5, 1, 0) + b"b" + b"abcde"
    field = struct.pack("<2H3Q", 1, 24, 5, 5, 0)
    entry = (b"PK\1\2" + struct.pack("<6H3I5H2I", 45, 45, 0, 0, 0, 0, 0x8587d865, 0xffffffff, 0xffffffff, 1, len(field),
                                    0, 0, 0, 0, 0xffffffff) + b"b" + field)
    write("archive", "all-zip64.zip", body + entry + b"PK\6\6" +
          struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, 1, 1, len(entry), len(body)) + b"PK\6\7" +
          struct.pack("<IQI", 0, len(body) + len(entry), 1) + b"PK\5\6" +
          struct.pack("<4H2IH", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 3) + b"...")
    for name, format in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
        long = {} if name == "ustar" else {"long" * 40 + "/1.png": b"four"}
        write("archive", name + ".tar", tar_of({**files, **long}, format))
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "a"
    write("archive", "link.tar", link.tobuf() + bytes(1024))
    big = tarfile.TarInfo("big")
    big.size = 1 << 40
    write("archive", "claims.tar", big.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    write("dataset_json", "labels", '{"labels": [["a/1.png", 6], ["b", 0]], "more": [[{}]]}')
    write("dataset_json", "none", '{"labels": null}')
    write("dataset_json", "vector", '{"labels": [["a", [0.5, 1]]]}')
    write("dataset_json", "large", '{"labels": [["a", 2147483648], ["\\u6587", -1], [1, "a"], ["b", 1e400]]}')
    write("dataset_json", "twice", '{"labels": [], "labels": [["a", 1]]}')


def main():
    make_archives()
    make_safetensors()
    make_state_dicts()
    make_npz()
    make_idx()
    make_png()
    make_image()
    make_hdf5()
    make_tables(sys.argv[1])
    make_records()
    make_ini()


if __name__ == "__main__":
    main()
