"""Checksums and the text of numbers, against what the libraries of the program give."""

from __future__ import annotations

import unittest
from unittest import mock

import numpy as np
import support  # noqa: F401

from couplet_table import _json_text, _xxh3

TEXT = bytes(i * i * 37 % 251 for i in range(10000))
# By length of the beginning of TEXT: its XXH3-64 and XXH3-128 by xxHash 0.8.
KNOWN = {
    0: (0x2D06800538D394C2, "99aa06d3014798d86001c324468d497f"),
    1: (0xC44BDFF4074EECDB, "a6cd5e9392000f6ac44bdff4074eecdb"),
    2: (0x638DE1946D9EE402, "5dd25fe07475fb3b638de1946d9ee402"),
    3: (0x71E19D576691FF47, "10849d9f89e2069e71e19d576691ff47"),
    4: (0x39D93E0656D1A0BF, "40d10f79cccdad8761d0db5e31a6612f"),
    7: (0x839EF8A49188EF2D, "0888d5b9b0086a01ac15e0a4b15f88f1"),
    8: (0x0F678E556E4C4F2E, "a78adccdd928e2fc8709dbf7fcf7918a"),
    9: (0xF4D5BEC462A13E33, "5f09f8b63c85bbeaa883baaeaf5673fd"),
    16: (0x6030281F3464D83C, "66e9886b98bbc3477fd11fdbe6cfb038"),
    17: (0xF9D47A44C2A38382, "0ac65abc34435b75e1b67c4ed0644f36"),
    32: (0x5B5B87D9155F379F, "2f21d99b2eea435f4310458ce3b2a934"),
    33: (0xECDCC4F656C240C5, "2ff856c28ee2aaa49eaf13ec0b48aec3"),
    64: (0x65C9CAD807413781, "6d58ac4300c478cd0ecebe9b2211a7c9"),
    65: (0x962A63DC515A2BE6, "a5c4d3dfc39269bbc66c3d79d456dd83"),
    96: (0x65FC17671AF049BF, "d4f8d625cfbcd814d468a9bde274b700"),
    97: (0x41E32AF46BDBEE1C, "81d040f1e0f9dc6075886d0369b3a823"),
    128: (0xA8182234B28E2E12, "01a326b32d2433bd892ce01548b5c98a"),
    129: (0x5C67CA2E6C504959, "f135ee4ed6977f6f161b26c54dcf537d"),
    143: (0xF520A9E01A02D231, "1056d701cc0e6f6bfbdc0a5afa7d2e13"),
    144: (0x536CA55FFBA66D65, "0ff1cd8c944a66c5e7006f885e7d2ef2"),
    160: (0x645074A984738690, "61594df37256ce6944b9e5381fea9f8d"),
    161: (0x6422338076AB46FB, "f739e61259f30a13427537d159256da1"),
    240: (0x59F8783E5EA0C8D0, "a6496ce5d70c9b15493f8d386874108f"),
    241: (0xA7DAEBE9FB6E239D, "fc2870960ae36a18a7daebe9fb6e239d"),
    1024: (0xE85E51E9AB25AD3A, "f598e66354266749e85e51e9ab25ad3a"),
    1025: (0x2587BB4E3F7B5E6E, "fa1e2f7e60da8aa72587bb4e3f7b5e6e"),
    1088: (0x738B3895B26A37F3, "09e46322f95fa6fa738b3895b26a37f3"),
    2048: (0x6FE796E882C920BB, "284dfbd3c81ef1e86fe796e882c920bb"),
    2049: (0x6E0ACA05B73E9797, "557c841c7878a61a6e0aca05b73e9797"),
    10000: (0x0AECFF3611B71576, "6b94a89a0ef4b8d80aecff3611b71576"),
}


class Checksums(unittest.TestCase):
    def check(self) -> None:
        for length, (short, long) in KNOWN.items():
            rows = np.frombuffer(TEXT[:length] * 3, np.uint8).reshape(3, length)
            self.assertEqual(_xxh3.hash64(rows).tolist(), 3 * [short], length)
            self.assertEqual(_xxh3.hash128(TEXT[:length]), long, length)
            pieces = _xxh3.new_hash128()
            for begin, end in ((0, length // 3), (length // 3, length // 2), (length // 2, length)):
                pieces.update(TEXT[begin:end])
            self.assertEqual(pieces.hexdigest(), long, length)

    def test_by_numpy(self) -> None:
        with mock.patch.object(_xxh3, "_xxhash", None), mock.patch.object(_xxh3, "_library", None):
            self.check()

    @unittest.skipIf(_xxh3._find_library() is None, "libxxhash is not installed")
    def test_by_the_library(self) -> None:
        with mock.patch.object(_xxh3, "_xxhash", None), mock.patch.object(_xxh3, "_library", _xxh3._find_library()):
            self.check()

    @unittest.skipIf(_xxh3._xxhash is None, "the package xxhash is not installed")
    def test_by_xxhash(self) -> None:
        self.check()

    def test_different_rows(self) -> None:
        rows = np.frombuffer(TEXT[:9000], np.uint8).reshape(6, 1500)
        with mock.patch.object(_xxh3, "_xxhash", None), mock.patch.object(_xxh3, "_library", None):
            together, alone = _xxh3.hash64(rows), [_xxh3.hash64(row[np.newaxis])[0] for row in rows]
        self.assertEqual(together.tolist(), alone)
        self.assertEqual(len(set(alone)), 6)


class NumberTexts(unittest.TestCase):
    def test_as_the_program_writes_them(self) -> None:
        known = {
            0.0: "0.0",
            -0.5: "-0.5",
            1.0: "1.0",
            1e-4: "0.0001",
            1e-5: "1e-05",
            1.25e300: "1.25e+300",
            5e-324: "5e-324",
            1e14: "100000000000000.0",
            1e15: "1e+15",
            1234567890123456.0: "1.234567890123456e+15",
            float("nan"): "null",
            837206448230531.8: "837206448230531.7",
            593018761039191.8: "593018761039191.7",
            58.48773886239427: "58.487738862394266",
        }
        for value, text in known.items():
            self.assertEqual(_json_text.float_text(value), text)

    def test_give_the_number_back(self) -> None:
        random = np.random.default_rng(5)
        for value in random.random(2000) * 10.0 ** random.integers(-300, 300, 2000):
            self.assertEqual(float(_json_text.float_text(float(value))), value)

    def test_manifest_text(self) -> None:
        value = {"b": [1, "ü\n"], "a": {"x": [], "y": {}, "z": None}}
        self.assertEqual(_json_text.canonical(value), '{"a":{"x":[],"y":{},"z":null},"b":[1,"ü\\n"]}')
        self.assertEqual(_json_text.indented({"b": [1], "a": []}), '{\n  "a": [],\n  "b": [\n    1\n  ]\n}')


if __name__ == "__main__":
    unittest.main()
