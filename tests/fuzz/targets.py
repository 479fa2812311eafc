"""What is fuzzed: each target takes any bytes, lets out no error but those of hyperion.errors, and holds its law."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rfc8785

from hyperion.domain.manifest import MANIFEST
from hyperion.errors import ConfigError, HyperionError, PackageError
from hyperion.format.archive import ArchiveReader, repack
from hyperion.format.block_pump import BlockPump
from hyperion.format.manifest_json import manifest_bytes, read_manifest
from hyperion.format.names import name_fault
from hyperion.format.random_access import RandomAccess
from hyperion.format.recovery import find_interrupted
from hyperion.format.signing import read_bundle
from hyperion.format.strict_json import parse_json
from hyperion.format.weights import read_header
from tests.fuzz.items import decoded
from tests.hostile.doors import read_wholly
from tests.hostile.forge import listed, pack_only

_PUMP = BlockPump()


def archive(data: bytes) -> None:
    """A package file. Law: what is accepted, the standard library reads alike, and repacking changes no byte."""
    try:
        with ArchiveReader(io.BytesIO(data), "fuzz", Path("/nowhere")) as package:
            read_wholly(package, _PUMP)
            again = io.BytesIO()
            repack(again, package)
            found = {name: package.read(name) for name in package.names()}
    except PackageError:
        return
    assert again.getvalue() == data
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert all(other.read(name) == payload for name, payload in found.items())


def entries(data: bytes) -> None:
    """Names and payloads of a container that is sound as such, manifest.json among them."""
    archive(pack_only(decoded(data)))


def contents(data: bytes) -> None:
    """The same, with the manifest made to list the entries as they are: only their contents can be refused."""
    items = decoded(data)
    try:
        tree = json.loads(dict(items)[MANIFEST])
        tree["entries"] = {
            name: listed(name, payload).model_dump(mode="json", exclude_none=True)
            for name, payload in items
            if name != MANIFEST
        }
        raw = rfc8785.dumps(tree)
    except (KeyError, TypeError, ValueError, RecursionError):
        return
    archive(pack_only([*((name, payload) for name, payload in items if name != MANIFEST), (MANIFEST, raw)]))


def manifest(data: bytes) -> None:
    """manifest.json. Law: what is accepted, is written again as the very same bytes, which are RFC 8785."""
    try:
        found = read_manifest(data, "fuzz")
    except PackageError:
        return
    assert manifest_bytes(found) == data
    assert rfc8785.dumps(json.loads(data)) == data


def tensor_header(data: bytes) -> None:
    """A weights entry and a golden request's tensors. Law: accepted tensors lie within the entry, side by side."""
    for aligned in (True, False):
        try:
            found = read_header(io.BytesIO(data), len(data), "weights/fuzz.weights", aligned=aligned)
        except PackageError:
            continue
        end = 0
        for piece in found.values():
            assert end <= piece.offset <= piece.offset + piece.size_bytes <= len(data)
            assert not aligned or piece.size_bytes == 0 or piece.offset % 64 == 0
            end = piece.offset + piece.size_bytes


def json_text(data: bytes) -> None:
    """Any JSON text. Law: what is accepted, the standard library reads alike, whatever key comes first."""
    try:
        found = parse_json(data, "fuzz")
    except ConfigError:
        return
    assert found == json.loads(data)


def signing(data: bytes) -> None:
    """model.sig, whose signer is not known yet."""
    try:
        read_bundle(data, "fuzz")
    except HyperionError:
        return


def recovery(data: bytes) -> None:
    """A package file that the reader refuses. Law: what is called interrupted, is no larger once it is repaired."""
    try:
        ArchiveReader(io.BytesIO(data), "fuzz", Path("/nowhere")).close()
    except PackageError:
        found = find_interrupted(RandomAccess(io.BytesIO(data)))
        assert found is None or found.size_bytes <= len(data)


def names(data: bytes) -> None:
    """An entry's name. Law: a legal one stays in its folder, and is one path on every system."""
    name = data.decode("utf-8", "surrogateescape")
    if name_fault(name) is None:
        assert name.isascii()
        assert str(Path("/root") / name) == f"/root/{name}"
        assert not {"..", "."} & set(Path(name).parts)
        assert not any(character in name for character in '\\:*?"<>|\0')


TARGETS: dict[str, Callable[[bytes], Any]] = {
    "archive": archive, "entries": entries, "contents": contents, "manifest": manifest,
    "tensor_header": tensor_header, "json_text": json_text, "signing": signing, "recovery": recovery, "names": names,
}  # fmt: skip
