"""XXH3 with seed 0, the hash of every checksum of a table: by the package `xxhash` if it is there, else by the system's
library libxxhash, else by numpy, which hashes some hundred MB/s of a core, a hundredth of what the others do.

numpy's way takes many inputs of one length at a time, which is what rows and blocks of a column are. All give the same
numbers, which https://github.com/Cyan4973/xxHash specifies.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

try:
    _xxhash: Any = importlib.import_module("xxhash")
except ImportError:
    _xxhash = None


def _find_library() -> Callable[[int, int], int] | None:
    """Returns XXH3_64bits of the system's xxHash, from the release on in which XXH3 is final."""
    try:
        library = ctypes.CDLL("libxxhash.so.0")
        hash_bytes = library.XXH3_64bits
    except (OSError, AttributeError):
        return None
    hash_bytes.argtypes, hash_bytes.restype = (ctypes.c_void_p, ctypes.c_size_t), ctypes.c_uint64
    found: Callable[[int, int], int] = hash_bytes
    return found if library.XXH_versionNumber() >= 800 else None


_library = _find_library() if _xxhash is None else None

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]


class Hash128(Protocol):
    """XXH3-128 of bytes that come piece by piece."""

    def update(self, data: Any, /) -> None:
        """Adds bytes: any object with a buffer."""

    def hexdigest(self) -> str:
        """Returns 32 hexadecimal digits, as `xxh128sum` prints them."""


def hash64(rows: Bytes) -> Words:
    """Returns the XXH3-64 of each row: uint8 [n, length] gives uint64 [n]."""
    length = rows.shape[1]
    if length <= 16:  # a call for each of many short rows would take longer
        return _Many(rows).hash64()
    if _library is not None:
        rows = np.ascontiguousarray(rows)
        first = rows.ctypes.data
        return np.fromiter((_library(first + i * length, length) for i in range(len(rows))), np.uint64, len(rows))
    if _xxhash is None:
        return _Many(rows).hash64()
    return np.fromiter((_xxhash.xxh3_64_intdigest(row) for row in rows), np.uint64, len(rows))


def new_hash128() -> Hash128:
    """Returns an XXH3-128 to which bytes can be added."""
    if _xxhash is None:
        return _Stream()
    made: Hash128 = _xxhash.xxh3_128()
    return made


def hash128(data: bytes) -> str:
    """Returns the XXH3-128 of the bytes as 32 hexadecimal digits."""
    whole = new_hash128()
    whole.update(data)
    return whole.hexdigest()


_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1, _P64_2, _P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P64_4, _P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MIX_1, _MIX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
_STRIPE, _BLOCK = 64, 1024  # bytes of long inputs that are accumulated, and after which the sums are scrambled
_CHUNK = 1 << 18  # bytes that numpy's temporaries are made of at once, so that they stay in the processor's cache


def _u(value: int) -> np.uint64:
    return np.uint64(value & 0xFFFFFFFFFFFFFFFF)


def _secret(offset: int) -> np.uint64:
    return _u(int.from_bytes(_SECRET[offset : offset + 8], "little"))


def _secret_words(offset: int, count: int) -> Words:
    return np.frombuffer(_SECRET, "<u8", count, offset).astype(np.uint64)


_START = np.array([_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1], np.uint64)
_STRIPE_KEYS = np.stack([_secret_words(8 * stripe, 8) for stripe in range(_BLOCK // _STRIPE)])
_SCRAMBLE_KEYS, _LAST_KEYS = _secret_words(128, 8), _secret_words(121, 8)
_NEIGHBOUR = np.array([1, 0, 3, 2, 5, 4, 7, 6])
_LOW = _u(0xFFFFFFFF)


def _shift(values: Words, bits: int) -> Words:
    return values ^ (values >> _u(bits))


def _avalanche(values: Words) -> Words:
    return _shift(_shift(values, 37) * _u(_MIX_1), 32)


def _avalanche_64(values: Words) -> Words:
    return _shift(_shift(_shift(values, 33) * _u(_P64_2), 29) * _u(_P64_3), 32)


def _rotate(values: Words, bits: int) -> Words:
    return (values << _u(bits)) | (values >> _u(64 - bits))


def _multiply(a: Words, b: Words | np.uint64) -> tuple[Words, Words]:
    """Returns the low and the high half of the products of 128 bits."""
    half = _u(32)
    a_low, a_high, b_low, b_high = a & _LOW, a >> half, b & _LOW, b >> half
    cross = a_high * b_low + ((a_low * b_low) >> half)
    other = a_low * b_high + (cross & _LOW)
    return a * b, a_high * b_high + (cross >> half) + (other >> half)


def _fold(a: Words, b: Words) -> Words:
    low, high = _multiply(a, b)
    return low ^ high


def _lane_sums(words: Words, keys: Words) -> Words:
    """Returns what stripes of 8 words, [m, 8 · stripes] under their keys, add to accumulators: [8, m]."""
    by_word = words.T.copy()  # numpy is quick along the last axis, which is long here
    sums: Words = by_word.reshape(-1, 8, len(words)).sum(axis=0, dtype=np.uint64)[_NEIGHBOUR]
    by_word ^= keys.reshape(-1, 1)
    low = by_word & _LOW
    by_word >>= _u(32)
    by_word *= low
    sums += by_word.reshape(-1, 8, len(words)).sum(axis=0, dtype=np.uint64)
    return sums


def _words(data: Bytes) -> Words:
    """[n, bytes] as little-endian words [n, bytes / 8]."""
    words: Words = np.ascontiguousarray(data).view("<u8").astype(np.uint64, copy=False)
    return words


def _accumulate(sums: Words, data: Bytes) -> Words:
    """Adds whole blocks, uint8 [n, k · 1024], to accumulators [n, 8], and scrambles behind each."""
    n, length = data.shape
    sums, shifted, bits, prime = sums.copy(), np.empty_like(sums), _u(47), _u(_P32_1)
    step = max(1, _CHUNK // (_BLOCK * n)) * _BLOCK
    for start in range(0, length, step):
        words = _words(data[:, start : start + step])
        added = _lane_sums(words.reshape(-1, _BLOCK // 8), _STRIPE_KEYS)
        for more in np.ascontiguousarray(added.reshape(8, n, -1).transpose(2, 1, 0)):
            sums += more
            np.right_shift(sums, bits, out=shifted)
            sums ^= shifted
            sums ^= _SCRAMBLE_KEYS
            sums *= prime
    return sums


def _merge(sums: Words, keys: int, start: int) -> Words:
    result = np.full(len(sums), _u(start))
    for i in range(4):
        result = result + _fold(
            sums[:, 2 * i] ^ _secret(keys + 16 * i), sums[:, 2 * i + 1] ^ _secret(keys + 16 * i + 8)
        )
    return _avalanche(result)


def _tail(sums: Words, tail: Bytes, last: Bytes) -> Words:
    """Adds the 1 to 1024 bytes behind the whole blocks, and the input's last 64 bytes."""
    stripes = (tail.shape[1] - 1) // _STRIPE
    if stripes:
        sums = sums + _lane_sums(_words(tail[:, : stripes * _STRIPE]), _STRIPE_KEYS[:stripes]).T
    return sums + _lane_sums(_words(last), _LAST_KEYS).T


def _long_64(sums: Words, length: int) -> Words:
    return _merge(sums, 11, length * _P64_1)


def _long_128(sums: Words, length: int) -> tuple[Words, Words]:
    return _merge(sums, 11, length * _P64_1), _merge(sums, 117, ~(length * _P64_2))


class _Many:
    """Inputs of one length, uint8 [n, length]."""

    def __init__(self, rows: Bytes) -> None:
        self.rows, self.length = rows, rows.shape[1]

    def hash64(self) -> Words:
        with np.errstate(over="ignore"):
            if self.length > 240:
                return _long_64(self._sums(), self.length)
            if self.length > 16:
                return self._middle_64()
            return self._short_64()

    def hash128(self) -> tuple[Words, Words]:
        with np.errstate(over="ignore"):
            if self.length > 240:
                return _long_128(self._sums(), self.length)
            if self.length > 16:
                return self._middle_128()
            return self._short_128()

    def _sums(self) -> Words:
        whole = (self.length - 1) // _BLOCK * _BLOCK
        sums = np.broadcast_to(_START, (len(self.rows), 8))
        sums = _accumulate(sums, self.rows[:, :whole])
        return _tail(sums, self.rows[:, whole:], self.rows[:, -_STRIPE:])

    def _word(self, offset: int, size: int = 8) -> Words:
        """The little-endian word at an offset of each input, from the end where it is negative."""
        start = offset % self.length
        word = np.ascontiguousarray(self.rows[:, start : start + size]).view(f"<u{size}")[:, 0]
        return word.astype(np.uint64)

    def _mix(self, offset: int, secret: int) -> Words:
        return _fold(self._word(offset) ^ _secret(secret), self._word(offset + 8) ^ _secret(secret + 8))

    def _pair(self, offset: int) -> Words:
        return self._word(offset) + self._word(offset + 8)

    def _of_three(self) -> Words:
        first, middle, last = (self.rows[:, i].astype(np.uint64) for i in (0, self.length >> 1, self.length - 1))
        return (first << _u(16)) | (middle << _u(24)) | last | _u(self.length << 8)

    def _short_64(self) -> Words:
        n, length = self.rows.shape
        if length == 0:
            return _avalanche_64(np.full(n, _secret(56) ^ _secret(64)))
        if length <= 3:
            return _avalanche_64(self._of_three() ^ _u(0x396CFEB8 ^ 0xBE4BA423))
        if length <= 8:
            keyed = (self._word(-4, 4) + (self._word(0, 4) << _u(32))) ^ _secret(8) ^ _secret(16)
            keyed = (keyed ^ _rotate(keyed, 49) ^ _rotate(keyed, 24)) * _u(_MIX_2)
            return _shift((keyed ^ ((keyed >> _u(35)) + _u(length))) * _u(_MIX_2), 28)
        low = self._word(0) ^ _secret(24) ^ _secret(32)
        high = self._word(-8) ^ _secret(40) ^ _secret(48)
        return _avalanche(_u(length) + low.byteswap() + high + _fold(low, high))

    def _middle_64(self) -> Words:
        n, length = self.rows.shape
        sums = np.full(n, _u(length * _P64_1))
        if length <= 128:
            for i in range((length - 1) // 32 + 1):
                sums = sums + self._mix(16 * i, 32 * i) + self._mix(-16 * (i + 1), 32 * i + 16)
            return _avalanche(sums)
        for i in range(8):
            sums = sums + self._mix(16 * i, 16 * i)
        sums = _avalanche(sums)
        for i in range(8, length // 16):
            sums = sums + self._mix(16 * i, 16 * (i - 8) + 3)
        return _avalanche(sums + self._mix(-16, 119))

    def _short_128(self) -> tuple[Words, Words]:
        n, length = self.rows.shape
        if length == 0:
            return (
                _avalanche_64(np.full(n, _secret(64) ^ _secret(72))),
                _avalanche_64(np.full(n, _secret(80) ^ _secret(88))),
            )
        if length <= 3:
            low = self._of_three()
            swapped = low.astype(np.uint32).byteswap().astype(np.uint64)
            high = ((swapped << _u(13)) | (swapped >> _u(19))) & _LOW
            keys = [int.from_bytes(_SECRET[i : i + 4], "little") for i in (0, 4, 8, 12)]
            return _avalanche_64(low ^ _u(keys[0] ^ keys[1])), _avalanche_64(high ^ _u(keys[2] ^ keys[3]))
        if length <= 8:
            keyed = (self._word(0, 4) + (self._word(-4, 4) << _u(32))) ^ _secret(16) ^ _secret(24)
            low, high = _multiply(keyed, _u(_P64_1 + (length << 2)))
            high = high + (low << _u(1))
            low = _shift(low ^ (high >> _u(3)), 35) * _u(_MIX_2)
            return _shift(low, 28), _avalanche(high)
        first, last = self._word(0), self._word(-8)
        low, high = _multiply(first ^ last ^ _secret(32) ^ _secret(40), _u(_P64_1))
        low = low + _u((length - 1) << 54)
        last = last ^ _secret(48) ^ _secret(56)
        high = high + last + (last & _LOW) * _u(_P32_2 - 1)
        low = low ^ high.byteswap()
        product, carried = _multiply(low, _u(_P64_2))
        return _avalanche(product), _avalanche(carried + high * _u(_P64_2))

    def _middle_128(self) -> tuple[Words, Words]:
        n, length = self.rows.shape
        low, high = np.full(n, _u(length * _P64_1)), np.zeros(n, np.uint64)

        def mix(first: int, second: int, secret: int) -> None:
            nonlocal low, high
            low = (low + self._mix(first, secret)) ^ self._pair(second)
            high = (high + self._mix(second, secret + 16)) ^ self._pair(first)

        if length <= 128:
            for i in reversed(range((length - 1) // 32 + 1)):
                mix(16 * i, -16 * (i + 1), 32 * i)
        else:
            for i in range(4):
                mix(32 * i, 32 * i + 16, 32 * i)
            low, high = _avalanche(low), _avalanche(high)
            for i in range(4, length // 32):
                mix(32 * i, 32 * i + 16, 32 * (i - 4) + 3)
            mix(-16, -32, 103)
        mixed = low * _u(_P64_1) + high * _u(_P64_4) + _u(length * _P64_2)
        return _avalanche(low + high), _u(0) - _avalanche(mixed)


class _Stream:
    """XXH3-128 by numpy. It keeps the last 1088 bytes at most: what may be the end, and the stripe before it."""

    def __init__(self) -> None:
        self._sums: Words = _START[np.newaxis]
        self._length = 0
        self._before = b""  # the last stripe of the blocks that were added
        self._open = b""  # bytes behind them, 1 to 1024 unless nothing came yet

    def update(self, data: Any, /) -> None:
        more = np.frombuffer(data, np.uint8)
        self._length += len(more)
        joined = np.concatenate([np.frombuffer(self._open, np.uint8), more]) if self._open else more
        whole = max(0, len(joined) - 1) // _BLOCK * _BLOCK
        if whole:
            with np.errstate(over="ignore"):
                self._sums = _accumulate(self._sums, joined[np.newaxis, :whole])
            self._before = joined[whole - _STRIPE : whole].tobytes()
        self._open = joined[whole:].tobytes()

    def hexdigest(self) -> str:
        tail = np.frombuffer(self._open, np.uint8)[np.newaxis]
        if self._length <= 240:
            low, high = _Many(tail).hash128()
        else:
            last = np.frombuffer((self._before + self._open)[-_STRIPE:], np.uint8)[np.newaxis]
            with np.errstate(over="ignore"):
                low, high = _long_128(_tail(self._sums, tail, last), self._length)
        return f"{int(high[0]):016x}{int(low[0]):016x}"
