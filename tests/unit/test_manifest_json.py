"""manifest.json: canonical bytes, and manifests that agree with themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from tests.packages import SIGNATURE, manifest

from hyperion.domain.manifest import Entry, HistoryLine, Parent
from hyperion.errors import MalformedPackageError, UnknownFormatVersionError
from hyperion.format.manifest_json import manifest_bytes, read_manifest

DIGEST = "sha256:" + "1" * 64
ENTRIES = {"architecture.json": Entry(digest=DIGEST, size_bytes=2)}


def test_a_manifest_survives_its_bytes_with_every_key_set() -> None:
    line = HistoryLine(version="1.0.0", message="first\n\x1b[31m", date=datetime(2026, 1, 2, tzinfo=UTC))
    parent = Parent(digest=DIGEST, version="0.9.0", signature=SIGNATURE)
    whole = manifest(ENTRIES, history=(line,), parent=parent, tags=("a", "é"), annotations={"k": "v"})

    raw = manifest_bytes(whole)

    assert read_manifest(raw, "p") == whole
    assert manifest_bytes(read_manifest(raw, "p")) == raw
    assert raw.startswith(b'{"annotations":')


@pytest.mark.parametrize("version", [b"0", b"2", b"7", b"-1", b"true", b'"1"', b"null"])
def test_another_format_version_is_refused_by_name(version: bytes) -> None:
    raw = manifest_bytes(manifest(ENTRIES)).replace(b'"format_version":1', b'"format_version":' + version)

    with pytest.raises(UnknownFormatVersionError, match="is unknown; this Hyperion reads version 1") as refused:
        read_manifest(raw, "p")

    assert str(json.loads(version)) in refused.value.message


def test_a_manifest_edited_by_hand_is_refused() -> None:
    raw = manifest_bytes(manifest(ENTRIES)).replace(b'"tiny"', b'"tiny" ')

    with pytest.raises(MalformedPackageError, match="one canonical way") as refused:
        read_manifest(raw, "p")

    assert refused.value.code == "package.manifest_encoding"
    assert refused.value.hint is not None


def test_too_many_entries_are_refused() -> None:
    entries = {f"assets/{number}": ENTRIES["architecture.json"] for number in range(65_536)}

    with pytest.raises(MalformedPackageError, match="at most 65535") as refused:
        read_manifest(manifest_bytes(manifest(entries)), "p")

    assert refused.value.code == "package.too_large"
