"""manifest.json: canonical bytes (RFC 8785) ↔ Manifest."""

from __future__ import annotations

from collections.abc import Collection

import orjson
import rfc8785
from pydantic import ValidationError

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
from hyperion.format.limits import MAX_DOCUMENT_MARKS, MAX_ENTRIES, MAX_JSON_BYTES, MAX_MANIFEST_BYTES
from hyperion.format.names import check_names, is_json
from hyperion.format.strict_json import (
    LISTED_PROBLEMS,
    checked_document,
    parse_json,
    shortened,
    size_fault,
    unlisted_faults,
)


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical bytes; their sha256 is the package's digest. Law: ``read_manifest(manifest_bytes(m)) == m``."""
    tree = manifest.model_dump(mode="json", exclude_none=True)
    # Without floats, and with keys whose order by UTF-16 is that by UTF-8, orjson writes what RFC 8785 asks for.
    quick = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    return quick if quick.isascii() else rfc8785.dumps(tree)


def read_manifest(raw: bytes, source: str, checked: Collection[str] = ()) -> Manifest:
    """Parse and validate a manifest.

    Args:
        raw: The bytes of manifest.json.
        source: The package's path, for messages.
        checked: Names that ``check_names`` accepted together; a manifest that lists no others is not asked again.

    Raises:
        UnknownFormatVersionError: Written by another version of the format.
        MalformedPackageError: A ``json.…`` code where it is no strict JSON; ``package.manifest_encoding`` where it is
            not canonical; ``package.manifest`` where it is not valid or contradicts itself; ``package.chunks`` where
            it lists other chunks than its entries have; ``package.unsafe_name``, ``package.duplicate_entry`` or
            ``package.too_large`` where it lists entries that no package may have.
    """
    found = _read_canonical(raw)
    manifest = found if isinstance(found, Manifest) else _read_strictly(raw, source, found)
    _check_consistency(manifest, source, checked)
    return manifest


def _read_canonical(raw: bytes) -> Manifest | int:
    """The manifest where ``raw`` is one in its one canonical way; what else there is, strict reading tells.

    Equal bytes leave no room for what a lax parser lets through: duplicate keys, odd numbers, other encodings.

    Returns:
        The manifest; else how many faults its keys and values have where they are too many to look again, or 0.
    """
    if size_fault(raw, MAX_MANIFEST_BYTES, MAX_DOCUMENT_MARKS) is not None:
        return 0
    try:
        manifest = Manifest.model_validate_json(raw)
        known = 1 <= manifest.format_version <= FORMAT_VERSION
        return manifest if known and manifest_bytes(manifest) == raw else 0
    except ValidationError as error:
        return error.error_count() if error.error_count() > LISTED_PROBLEMS else 0
    except (ValueError, TypeError):  # what no encoder writes, such as lone surrogates
        return 0


def _read_strictly(raw: bytes, source: str, faults: int) -> Manifest:
    """The manifest, or what is wrong with it; ``faults`` where its keys and values are known to have so many."""
    where = f"{source}: {MANIFEST}"
    try:
        tree = parse_json(raw, where, limit=MAX_MANIFEST_BYTES, marks=MAX_DOCUMENT_MARKS)
        if not isinstance(tree, dict) or tree.get("format") != FORMAT_NAME:
            raise MalformedPackageError(
                f'{where} does not say "format": "{FORMAT_NAME}"',
                hint="this is no Hyperion package",
                entry=MANIFEST,
                code="package.not_a_package",
            )
        _check_format_version(tree.get("format_version"), source)
        if faults:
            raise unlisted_faults(where, faults)
        del tree  # it takes as much memory as what comes now
        manifest = checked_document(Manifest, raw, where)
    except ConfigError as error:
        code = "package.manifest" if error.code == "config.invalid" else error.code
        raise MalformedPackageError(error.message, hint=error.hint, entry=MANIFEST, code=code) from error
    if manifest_bytes(manifest) != raw:
        raise MalformedPackageError(
            f"{where} is not written in the one canonical way (RFC 8785, absent keys left out)",
            hint="it was edited by hand; make changes with 'hyperion version update' or by packaging again",
            entry=MANIFEST,
            code="package.manifest_encoding",
        )
    return manifest


def _check_format_version(found: object, source: str) -> None:
    if type(found) is int and 1 <= found <= FORMAT_VERSION:
        return
    raise UnknownFormatVersionError(
        f"{source}: {MANIFEST}: format version {shortened(found)} is unknown; "
        f"this Hyperion reads version {FORMAT_VERSION}",
        hint="version 0 was a draft: make the package again"
        if found == 0
        else "install the Hyperion that wrote it, or make the package again with this one",
        expected=FORMAT_VERSION,
        entry=MANIFEST,
        actual=found if type(found) is int else shortened(found),
    )


def _check_consistency(manifest: Manifest, source: str, checked: Collection[str]) -> None:
    """Demand what the model cannot express: legal names, and layers that agree with the entries."""
    if len(manifest.entries) > MAX_ENTRIES - 1:
        raise MalformedPackageError(
            f"{source}: {MANIFEST} lists {len(manifest.entries)} entries; at most {MAX_ENTRIES - 1} are read",
            entry=MANIFEST,
            code="package.too_large",
        )
    if not all(name in checked for name in manifest.entries):
        check_names(manifest.entries, source)
    for name in (MANIFEST, SIGNING):
        if name in manifest.entries:
            raise _malformed(f"{source}: {MANIFEST} lists {name} as an entry", None)
    if ARCHITECTURE not in manifest.entries:
        raise _malformed(f"{source}: {MANIFEST} lists no {ARCHITECTURE}", None)
    _check_documents(manifest, source)
    _check_chunks(manifest, source)
    stored = {name for name in manifest.entries if name.startswith(WEIGHTS_FOLDER)}
    claimed: set[str] = set()
    for position, layer in enumerate(manifest.layers):
        if layer.index != position:
            raise _malformed(f"{source}: {MANIFEST}: layer {position} has the index {layer.index}", None)
        if layer.entry not in stored or layer.entry in claimed:
            fault = "which another layer has" if layer.entry in claimed else f"which is no {WEIGHTS_FOLDER} entry"
            raise _malformed(
                f"{source}: {MANIFEST}: layer {shortened(layer.name)} has the entry {shortened(layer.entry)}, {fault}",
                None,
            )
        claimed.add(layer.entry)
    if stored != claimed:
        unclaimed = min(stored - claimed)
        raise _malformed(f"{source}: {MANIFEST}: the entry {unclaimed!r} belongs to no layer", None)


def _check_documents(manifest: Manifest, source: str) -> None:
    """Demand that what is read whole is not too large for it."""
    for name, entry in manifest.entries.items():
        if entry.size_bytes > MAX_JSON_BYTES and is_json(name):
            raise MalformedPackageError(
                f"{source}: the document {name!r} has {entry.size_bytes} bytes; at most {MAX_JSON_BYTES} are read",
                entry=name,
                expected=MAX_JSON_BYTES,
                actual=entry.size_bytes,
                code="package.too_large",
            )


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
