"""manifest.json: canonical bytes (RFC 8785) ↔ Manifest."""

from __future__ import annotations

import rfc8785

from hyperion.domain.manifest import (
    ARCHITECTURE,
    CHUNKS,
    FORMAT_NAME,
    FORMAT_VERSION,
    MANIFEST,
    SIGNING,
    WEIGHTS_FOLDER,
    Manifest,
)
from hyperion.errors import ConfigError, MalformedPackageError, UnknownFormatVersionError
from hyperion.format.chunk_tree import is_chunked, list_positions
from hyperion.format.limits import MAX_ENTRIES, MAX_MANIFEST_BYTES
from hyperion.format.names import check_names
from hyperion.format.strict_json import parse_document, parse_json


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical bytes; their sha256 is the package's digest. Law: ``read_manifest(manifest_bytes(m)) == m``."""
    return rfc8785.dumps(manifest.model_dump(mode="json", exclude_none=True))


def read_manifest(raw: bytes, source: str) -> Manifest:
    """Parse and validate a manifest.

    Args:
        raw: The bytes of manifest.json.
        source: The package's path, for messages.

    Raises:
        UnknownFormatVersionError: Written by another version of the format.
        MalformedPackageError: Code ``package.manifest`` where it is not canonical, not valid or contradicts itself;
            ``package.unsafe_name`` or ``package.duplicate_entry`` where it lists entries that no package may have.
    """
    where = f"{source}: {MANIFEST}"
    try:
        tree = parse_json(raw, where, limit=MAX_MANIFEST_BYTES)
        if not isinstance(tree, dict) or tree.get("format") != FORMAT_NAME:
            raise _malformed(f'{where} does not say "format": "{FORMAT_NAME}"', "this is no Hyperion package")
        _check_format_version(tree.get("format_version"), source)
        manifest = parse_document(Manifest, raw, where, limit=MAX_MANIFEST_BYTES)
        if manifest_bytes(manifest) != raw:
            raise _malformed(
                f"{where} is not written in the one canonical way (RFC 8785, absent keys left out)",
                "it was edited by hand; make changes with 'hyperion version update' or by packaging again",
            )
    except ConfigError as error:
        raise _malformed(error.message, error.hint) from error
    _check_consistency(manifest, source)
    return manifest


def _check_format_version(found: object, source: str) -> None:
    if type(found) is int and 1 <= found <= FORMAT_VERSION:
        return
    raise UnknownFormatVersionError(
        f"{source}: format version {found!r} is unknown; this Hyperion reads version {FORMAT_VERSION}",
        hint="version 0 was a draft: make the package again"
        if found == 0
        else "install the Hyperion that wrote it, or make the package again with this one",
        expected=FORMAT_VERSION,
        actual=found if isinstance(found, (int, str)) else repr(found),
    )


def _check_consistency(manifest: Manifest, source: str) -> None:
    """Demand what the model cannot express: legal names, and layers that agree with the entries."""
    if len(manifest.entries) > MAX_ENTRIES - 1:
        raise MalformedPackageError(
            f"{source}: the manifest lists {len(manifest.entries)} entries; at most {MAX_ENTRIES - 1} are read",
            code="package.too_large",
        )
    check_names(manifest.entries, source)
    for name in (MANIFEST, SIGNING):
        if name in manifest.entries:
            raise _malformed(f"{source}: {MANIFEST} lists {name} as an entry", None)
    if ARCHITECTURE not in manifest.entries:
        raise _malformed(f"{source}: {MANIFEST} lists no {ARCHITECTURE}", None)
    _check_chunks(manifest, source)
    stored = {name for name in manifest.entries if name.startswith(WEIGHTS_FOLDER)}
    claimed: set[str] = set()
    for position, layer in enumerate(manifest.layers):
        if layer.index != position:
            raise _malformed(f"{source}: layer {position} of the manifest has the index {layer.index}", None)
        if layer.entry not in stored or layer.entry in claimed:
            fault = "which another layer has" if layer.entry in claimed else f"which is no {WEIGHTS_FOLDER} entry"
            raise _malformed(f"{source}: layer {layer.name!r} has the entry {layer.entry!r}, {fault}", None)
        claimed.add(layer.entry)
    if stored != claimed:
        unclaimed = min(stored - claimed)
        raise _malformed(f"{source}: the entry {unclaimed!r} belongs to no layer", None)


def _check_chunks(manifest: Manifest, source: str) -> None:
    """Demand that just the entries over 8 MiB have chunks, and that their digests have a place."""
    for name, entry in manifest.entries.items():
        if is_chunked(name, entry.size_bytes) != (entry.chunks is not None):
            fault = "has chunks" if entry.chunks else "has no chunks"
            raise MalformedPackageError(
                f"{source}: the entry {name!r} of {entry.size_bytes} bytes {fault}",
                entry=name,
                code="package.chunks",
            )
    positions = list_positions(manifest.entries)
    expected = max((position.stop for position in positions.values()), default=None)
    found = manifest.entries[CHUNKS].size_bytes if CHUNKS in manifest.entries else None
    if expected != found:
        raise MalformedPackageError(
            f"{source}: expected {expected or 'no'} bytes of chunk digests in {CHUNKS}, found {found or 'none'}",
            entry=CHUNKS,
            expected=expected,
            actual=found,
            code="package.chunks",
        )


def _malformed(message: str, hint: str | None) -> MalformedPackageError:
    return MalformedPackageError(message, hint=hint, entry=MANIFEST, code="package.manifest")
