"""How large anything read from outside may be; checked before memory is taken for it."""

from __future__ import annotations

MAX_ENTRIES = 65_536
MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_JSON_BYTES = 32 * 1024 * 1024
MAX_WIDE_JSON_BYTES = 8 * 1024 * 1024
"""Where characters are beyond ASCII: one such character may make each of a text take four bytes of memory."""
MAX_JSON_MARKS = 1_000_000
"""Commas and opening brackets in one JSON text, of which each value has one: it may cost 120 bytes of memory."""
MAX_DOCUMENT_MARKS = 250_000
"""The same in manifests, tensor headers and other texts whose every key is checked, which costs more; 65 536 entries
need 200 000, a tensor 7."""
MAX_SIGNING_BYTES = 32 * 1024 * 1024
MAX_JSON_DEPTH = 64
MAX_JSON_INTEGER = 2**53 - 1
"""Integers beyond this do not survive readers that keep numbers as doubles (RFC 8785)."""
MAX_TENSOR_HEADER_BYTES = 16 * 1024 * 1024
MAX_DIMENSIONS = 64
MAX_NAME_BYTES = 255
MAX_NAME_COMPONENTS = 8

BLOCK_BYTES = 1024 * 1024
"""Unit of copying and hashing; measured best between 256 KiB and 1 MiB."""
