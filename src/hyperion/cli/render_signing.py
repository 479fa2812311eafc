"""How signed packages, keys and bills of materials look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, pairs
from hyperion.cli.render_version import ANOTHER_FILE, REPAIRS

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.usecases.key_file import KeyPair
    from hyperion.usecases.sbom import WrittenBom
    from hyperion.usecases.sign import SignedPackage


def show_signed(console: Console, signed: SignedPackage) -> None:
    """What was signed, and by which key."""
    rows = (("  digest", signed.digest), ("  key", signed.hint), ("  files", signed.files))
    pairs(console, rows)
    if signed.repair != "none":
        line(console, f"an interrupted change before: {REPAIRS[signed.repair]}")
    if signed.method in ANOTHER_FILE:
        line(console, f"{ANOTHER_FILE[signed.method]} took its name: other hard links, if any, are not signed")
    again = ", in place of the signing before" if signed.replaced else ""
    line(console, f"signed {signed.name} {signed.version} in {signed.path}{again}", "bold green")


def show_key_pair(console: Console, pair: KeyPair) -> None:
    """Where both halves are, and who may have them."""
    lock = "encrypted" if pair.encrypted else "not encrypted"
    rows = (
        ("  private", f"{pair.private_key} ({lock}; keep it to yourself)"),
        ("  public", f"{pair.public_key} (give it to those who verify)"),
        ("  key", pair.hint),
    )
    pairs(console, rows)
    line(console, "made a pair of keys", "bold green")


def show_bom(console: Console, bom: WrittenBom) -> None:
    """What was written, of what."""
    pairs(console, (("  digest", bom.digest), ("  files", bom.components), ("  bytes", bom.size_bytes)))
    line(console, f"wrote the bill of materials of {bom.name} {bom.version} to {bom.path}", "bold green")
