"""Text that others wrote, as inert Markdown: it is shown, never acted upon."""

from __future__ import annotations

import re
import unicodedata

_SYNTAX = re.compile(r"[\\`*\[\]|~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=:)//|(?<=[wW]{3})\.")
"""What could format, link, mention or end a table's cell in the middle of a line; ``current_model`` stays readable."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control characters, marks that reorder or hide text, halves of characters, and line breaks."""


def plain(text: str) -> str:
    r"""Markdown that renders as ``text``, in one line; to be put after other text of that line.

    Control and invisible characters become their visible escapes (``\x1b``), markup loses its meaning, HTML too.
    """
    visible = "".join(_visible(character) for character in text)
    escaped = _SYNTAX.sub(r"\\\g<0>", visible)
    return "".join(_ENTITIES.get(character, character) for character in escaped)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
