"""What an entry's bytes may be: nothing that a machine would execute or unpack."""

from __future__ import annotations

import re

from hyperion.domain.manifest import WEIGHTS_FOLDER
from hyperion.errors import MalformedPackageError

HEAD_BYTES = 512
"""How much of an entry ``executable_kind`` wants to see."""

_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "an ELF program"),
    (b"\xfe\xed\xfa\xce", "a Mach-O program"),
    (b"\xfe\xed\xfa\xcf", "a Mach-O program"),
    (b"\xce\xfa\xed\xfe", "a Mach-O program"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
    (b"\xca\xfe\xba\xbe", "a Mach-O program or Java class"),
    (b"\xca\xfe\xba\xbf", "a Mach-O program"),
    (b"\x00asm", "a WebAssembly program"),
    (b"dex\n", "an Android program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"PK\x07\x08", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x04\x22\x4d\x18", "an lz4 archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"!<arch>\n", "an ar archive"),
    (b"MSCF\x00", "a cabinet archive"),
    (b"\xed\xab\xee\xdb", "an rpm archive"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_TAR_MAGIC = slice(257, 262)


def executable_kind(head: bytes | memoryview) -> str | None:
    """What executable or archive begins with ``head`` (the first 512 bytes), in words; None where it is none."""
    head = bytes(head[:HEAD_BYTES])
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if _PICKLE.match(head):
        return "a Python pickle"
    if _BZIP2.match(head):
        return "a bzip2 archive"
    if head.startswith(b"MZ") and b"\x00" in head[:64]:  # text may begin with these letters, but has no zeros
        return "a Windows program"
    if head[_TAR_MAGIC] == b"ustar":
        return "a tar archive"
    return None


def require_harmless(name: str, source: str, head: bytes | memoryview) -> None:
    """Demand that the entry ``name``, which begins with ``head``, is neither executable nor an archive.

    Weights are raw numbers behind a checked header; their first bytes mean nothing here.

    Raises:
        MalformedPackageError: Code ``package.pickle``, ``package.nested_archive`` or ``package.native_code``.
    """
    kind = None if name.startswith(WEIGHTS_FOLDER) else executable_kind(head)
    if kind is None:
        return
    if kind.endswith("pickle"):
        raise MalformedPackageError(
            f"{source}: the entry {name!r} is {kind}, which runs code when it is read; packages hold data only",
            hint="store what it holds as numbers (safetensors) or JSON, or leave it out",
            entry=name,
            code="package.pickle",
        )
    if kind.endswith("archive"):
        raise MalformedPackageError(
            f"{source}: the entry {name!r} is {kind}; what is inside could not be checked",
            hint="store its content unpacked, or leave it out",
            entry=name,
            code="package.nested_archive",
        )
    raise MalformedPackageError(
        f"{source}: the entry {name!r} is {kind}; packages hold data only",
        hint="leave it out",
        entry=name,
        code="package.native_code",
    )
