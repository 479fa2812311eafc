"""Text that others wrote, made safe for a terminal; nothing here needs more than the standard library."""

from __future__ import annotations

import unicodedata

_UNSAFE_FORMAT = frozenset("\u061c\u200b\u200e\u200f\u2028\u2029\u2060\ufeff") | frozenset(
    chr(code) for span in (range(0x202A, 0x202F), range(0x2066, 0x206A)) for code in span
)
"""Characters that reorder, hide or break text; others of category Cf (joiners in scripts and emoji) are left."""


def clean(text: object, *, keep_newlines: bool = False) -> str:
    """``text`` with every control character, bidirectional override and lone surrogate written as an escape.

    An escape sequence in a name can then neither colour nor clear the screen, nor forge a line of output.
    """
    return "".join(
        _escaped(char) if _is_unsafe(char) and not (keep_newlines and char == "\n") else char for char in str(text)
    )


def _is_unsafe(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cs"} or char in _UNSAFE_FORMAT


def _escaped(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or (
        f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"
    )


def bytes_for_people(size: float) -> str:
    """``12.3 MiB``: a size in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
