"""Executables and archives are told by how they begin, and texts are not mistaken for them."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile

import pytest

from hyperion.format.content import executable_kind


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_binary_protocol_are_told(protocol: int) -> None:
    assert executable_kind(pickle.dumps({"a": 1}, protocol)) == "a Python pickle"


def test_archives_made_by_the_standard_library_are_told() -> None:
    import bz2
    import gzip
    import lzma

    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a", "b")
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"))

    assert executable_kind(zipped.getvalue()) == "a zip archive"
    assert executable_kind(tarred.getvalue()) == "a tar archive"
    assert executable_kind(gzip.compress(b"x")) == "a gzip archive"
    assert executable_kind(bz2.compress(b"x")) == "a bzip2 archive"
    assert executable_kind(lzma.compress(b"x")) == "an xz archive"


@pytest.mark.parametrize(
    "head", [b"", b"# README\n", b"MZ is a prefix\n", b"BZh9 said he", b'{"a": 1}', b"\x89PNG\r\n\x1a\n", b"\x80\x01"]
)
def test_data_is_left_alone(head: bytes) -> None:
    assert executable_kind(head) is None
