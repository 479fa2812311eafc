"""Names that leave the target, mean a device, hide something, or cannot stand beside each other."""

from __future__ import annotations

from collections.abc import Iterator

from hyperion.domain.manifest import MANIFEST
from tests.hostile.forge import BadPackage, honest_manifest, lie, pack, pack_only
from tests.packages import entries

UNSAFE = (
    "../evil", "assets/../../evil", "..", "/etc/passwd", "//server/share", "assets//x", "assets/./x", "assets/..",
    "./assets/x", "assets\\evil", "..\\evil", "C:/evil", "C:evil", "~/evil", "assets/con", "assets/NUL.txt",
    "assets/com1.json", "assets/LPT9", "assets/dot.", "assets/.hidden", ".git/hooks/x", "assets/-rf", "assets/a b",
    "assets/$(x)", "assets/\x1b[31mred", "assets/line\nbreak", "assets/tab\t", "assets/é", "assets/e\u0301",
    "assets/\u202egpj.exe", "assets/\u200bx", "assets/\uff0e\uff0e", "assets/a\x00b", "assets/a:stream",
    "assets/<script>", "assets/" + "x" * 256, "assets/" + "d/" * 8 + "x", "elsewhere/x", "stray.txt", "assets/", "",
    "model.sig/x", "manifest.json/x", "architecture.json/x", "weights", "META-INF/MANIFEST.MF",
)  # fmt: skip
CLASHING = ("assets/readme.md", "assets/README.md/x")


def names() -> Iterator[BadPackage]:
    """One entry with such a name, in its place; the manifest does not list it."""
    raw = honest_manifest(entries())
    for name in UNSAFE:
        payloads = sorted([*entries().items(), (name, b"x")], key=lambda item: item[0].encode())
        yield lie(f"name {name[:40]!r}", pack_only([*payloads, (MANIFEST, raw)]), "package.unsafe_name", name)
    for name in CLASHING:
        payloads = sorted([*entries().items(), (name, b"x")], key=lambda item: item[0].encode())
        yield lie(f"name {name!r}", pack(payloads, raw), "package.duplicate_entry", name)


def listed_names() -> Iterator[BadPackage]:
    """The same names where a manifest lists them, and the entry is truly there."""
    for name in ("../evil", "/etc/passwd", "assets/con", "assets/\x1b[31mred"):
        payloads = entries() | {name: b"x"}
        yield lie(f"listed name {name!r}", pack(payloads), "package.unsafe_name", name)
