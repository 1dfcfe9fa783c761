"""JSON as the program writes it: what a manifest's hash is taken of."""

from __future__ import annotations

import functools
import json
import math
import struct
from typing import Any

from .errors import TableError

DEEPEST = 32  # levels of objects and lists in a manifest; in the attributes of a shard one less


def parse(text: bytes, what: str, deepest: int = DEEPEST) -> Any:
    """Parses UTF-8 text; `what` says in messages where it stands. Refuses what the program refuses: text that is no
    JSON, a key that stands twice in one object, and more than `deepest` levels."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, _ in pairs if sum(other == key for other, _ in pairs) > 1)
            raise TableError(f"{what}: has the key {json.dumps(twice, ensure_ascii=False)} twice in one object")
        return found

    too_deep = f"{what}: is JSON of more than {deepest} levels, which nothing that belongs there has"

    def no_number(name: str) -> None:
        raise TableError(f"{what}: is no JSON: it holds {name}")

    def number(digits: str) -> float:
        if math.isinf(value := float(digits)):
            no_number(digits[:50])
        return value

    def whole(digits: str) -> int | float:
        value = int(digits)
        return value if -(2**63) <= value < 2**64 else number(digits)

    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=no_number,
            parse_float=number,
            parse_int=whole,
        )
    except UnicodeDecodeError:
        raise TableError(f"{what}: is no JSON: it holds bytes that are no UTF-8 text") from None
    except RecursionError:
        raise TableError(too_deep) from None
    except ValueError as error:
        raise TableError(f"{what}: is no JSON: {error}; it has {len(text)} bytes") from None
    if _levels(value) > deepest:
        raise TableError(too_deep)
    if b"\\u" in text:
        encoded(value, what)
    return value


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    return 1 + max(map(_levels, value), default=0) if isinstance(value, list) else 0


def canonical(value: Any) -> str:
    """Returns the text with sorted keys, without blanks, non-ASCII as it is, and numbers as the program has them."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical, value)) + "]"
    return _scalar(value)


def encoded(value: Any, what: str) -> bytes:
    """Returns the same in UTF-8; half a surrogate pair, which Python's texts may hold, is refused."""
    try:
        return canonical(value).encode()
    except UnicodeEncodeError as error:
        raise TableError(f"{what}: holds text that is no UTF-8: {error}") from None


def excerpt(value: Any, most: int = 200) -> str:
    """Returns the beginning of the same, for a message."""
    text = canonical(value)
    return text if len(text) <= most else text[:most] + "..."


def indented(value: Any, indent: str = "") -> str:
    """Returns the same on lines, by two blanks a level: the text of a manifest."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = (f"{inner}{_quoted(key)}: {indented(value[key], inner)}" for key in sorted(value))
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and value:
        return "[\n" + ",\n".join(inner + indented(item, inner) for item in value) + f"\n{indent}]"
    return canonical(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return float_text(value)
    if value is None or isinstance(value, (str, bool, int)):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"{value!r} of type {type(value).__name__} is nothing that JSON holds")


def float_text(value: float) -> str:
    """Returns a decimal form that gives the number back, as the program writes it: by Florian Loitsch's Grisu2 (PLDI
    2010), as nlohmann::json 3 has it. About one number in 1,500 has not the shortest digits, which are Python's."""
    if value != value or value in (float("inf"), float("-inf")):
        return "null"
    sign = "-" if struct.pack(">d", value)[0] & 0x80 else ""
    if value == 0:
        return sign + "0.0"
    digits, exponent = _grisu2(abs(value))
    point = len(digits) + exponent  # the decimal point stands behind so many digits
    if 0 < point <= 15:
        if exponent >= 0:
            return f"{sign}{digits}{'0' * exponent}.0"
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -4 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+03d}"


@functools.cache
def _power_of_ten(power: int) -> tuple[int, int]:
    """Returns 10^power as (f, e), f · 2^e with f of 64 bits, rounded to the nearest."""
    if power >= 0:
        whole = 10**power
        shift = whole.bit_length() - 64
        return (whole << -shift if shift <= 0 else (whole + (1 << (shift - 1))) >> shift), shift
    divisor = 10**-power
    shift = 63 + divisor.bit_length()
    fraction = ((1 << (shift + 1)) // divisor + 1) >> 1
    if fraction >= 1 << 64:
        shift -= 1
        fraction = ((1 << (shift + 1)) // divisor + 1) >> 1
    return fraction, -shift


def _grisu2(value: float) -> tuple[str, int]:
    """Returns digits and an exponent of ten of a positive number: digits · 10^exponent."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    mantissa, biased = bits & ((1 << 52) - 1), bits >> 52
    f, e = (mantissa + (1 << 52), biased - 1075) if biased else (mantissa, -1074)
    # The number and the ends of the interval that is rounded to it, with one exponent and the upper end of 64 bits.
    high, exponent = 2 * f + 1, e - 1
    low, low_exponent = (4 * f - 1, e - 2) if mantissa == 0 and biased > 1 else (2 * f - 1, e - 1)
    shift = 64 - high.bit_length()
    high, exponent = high << shift, exponent - shift
    low <<= low_exponent - exponent
    middle_shift = 64 - f.bit_length()
    middle = f << middle_shift
    # A power of ten that brings the exponent to [-60, -32].
    wanted = -60 - exponent - 1
    k = wanted * 78913 // (1 << 18) + (wanted > 0) if wanted >= 0 else -(-wanted * 78913 // (1 << 18))
    power = -300 + (300 + k + 7) // 8 * 8
    factor, factor_exponent = _power_of_ten(power)
    middle, low, high = ((x * factor + (1 << 63)) >> 64 for x in (middle, low, high))
    return _digits(low + 1, middle, high - 1, exponent + factor_exponent + 64, -power)


def _digits(low: int, middle: int, high: int, exponent: int, decimal: int) -> tuple[str, int]:
    """Makes digits of `high` until what is left lies within the interval, then goes towards `middle`."""
    delta, distance = high - low, high - middle
    one = 1 << -exponent
    whole, part = high >> -exponent, high & (one - 1)
    text = str(whole)
    for position in range(1, len(text) + 1):
        unit = 10 ** (len(text) - position)
        rest = (whole % unit << -exponent) + part
        if rest <= delta:
            return _towards(text[:position], distance, delta, rest, unit << -exponent), decimal + len(text) - position
    while True:
        part *= 10
        delta *= 10
        distance *= 10
        decimal -= 1
        text += str(part >> -exponent)
        part &= one - 1
        if part <= delta:
            return _towards(text, distance, delta, part, one), decimal


def _towards(text: str, distance: int, delta: int, rest: int, unit: int) -> str:
    last = int(text[-1])
    while rest < distance and delta - rest >= unit:
        next_rest = rest + unit
        if next_rest >= distance and distance - rest <= next_rest - distance:
            break
        last, rest = last - 1, next_rest
    return text[:-1] + str(last)
