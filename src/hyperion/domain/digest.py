"""Digests: always algorithm and hex, ``sha256:…``."""

from __future__ import annotations

import hashlib

PREFIX = "sha256:"


def digest_of(data: bytes | memoryview) -> str:
    """The digest of ``data``."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def hex_of(digest: str) -> str:
    """The hexadecimal part, as used in file names of the store."""
    return digest.removeprefix(PREFIX)


def short(digest: str) -> str:
    """The form for people: algorithm and the first 12 hexadecimal digits."""
    return PREFIX + hex_of(digest)[:12]
