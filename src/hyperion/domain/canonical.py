"""Canonical JSON (RFC 8785): one value has one text, so that a hash over it can be held against another's.

``rfc8785`` is exact, written in Python, and on the path of every switch. What is plain (ASCII text, whole numbers and
ordinary fractions, as nearly every event is) comes out of the standard encoder just the same, and faster.
"""

from __future__ import annotations

import json

import rfc8785

from hyperion.domain.document import JsonValue

LARGEST_WHOLE = 2**53 - 1
"""RFC 8785 forbids integers beyond this."""
SMALLEST_FRACTION, LARGEST_FRACTION = 1e-4, 1e16
"""Between these, Python writes a number that is not whole as ECMAScript does: its shortest digits, without exponent."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


class _NotPlainError(Exception):
    """Something that the standard encoder may write otherwise."""


def canonical(value: JsonValue) -> bytes:
    """The canonical JSON of a value.

    Raises:
        ValueError: It has none: a number is not finite or too large, or a text is no Unicode.
    """
    try:
        text = _encoder.encode(_plain(value))
    except _NotPlainError:
        return rfc8785.dumps(value)
    # Beyond ASCII, keys are sorted by UTF-16 units, and there may be surrogates.
    return text.encode() if text.isascii() else rfc8785.dumps(value)


def _plain(value: JsonValue) -> JsonValue:
    """The same value, whole numbers as integers.

    Raises:
        _NotPlainError: Something in it is not plain.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if kind is list:
        return [_plain(item) for item in value]  # type: ignore[union-attr]
    if kind is int and abs(value) <= LARGEST_WHOLE:  # type: ignore[arg-type]
        return value
    if kind is float:
        return _plain_number(value)  # type: ignore[arg-type]
    raise _NotPlainError


def _plain_number(value: float) -> float:
    size = abs(value)
    if value.is_integer() and size <= LARGEST_WHOLE:
        return int(value)
    if SMALLEST_FRACTION <= size < LARGEST_FRACTION:
        return value
    raise _NotPlainError
