"""The package file: deterministic, aligned, readable by every zip tool, rewritten without touching payloads."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from functools import partial
from pathlib import Path

import pytest
from tests.packages import entries, manifest, package_bytes, write_directory, write_package

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import Entry
from hyperion.errors import DigestMismatchError, HostError, MalformedPackageError, NotFoundError
from hyperion.format.archive import ArchiveReader, PendingEntry, repack, write_archive
from hyperion.format.archive_writer import write_end
from hyperion.format.directory import DirectoryReader


def reader(data: bytes) -> ArchiveReader:
    return ArchiveReader(io.BytesIO(data), "memory", Path("/nowhere"))


def pending(name: str, data: bytes, size: int | None = None) -> PendingEntry:
    return PendingEntry(name, len(data) if size is None else size, partial(io.BytesIO, data))


def test_the_same_entries_in_any_order_give_the_same_bytes() -> None:
    payloads = entries()

    assert package_bytes(payloads) == package_bytes(dict(reversed(payloads.items())))


def test_every_payload_begins_at_a_multiple_of_4096(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p.hyperion")
    data = path.read_bytes()

    with ArchiveReader(path.open("rb"), "p", path) as package:
        for name in package.names():
            location = package.locate(name)
            assert location.offset % 4096 == 0
            assert data[location.offset :][: location.size_bytes] == entries()[name]
            assert package.read(name) == entries()[name]
        assert package.digest == digest_of(package.manifest_bytes)


def test_standard_tools_read_it(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p.hyperion")

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[-1] == "manifest.json"
        assert {name: archive.read(name) for name in entries()} == entries()
    if shutil.which("unzip"):
        assert subprocess.run(["unzip", "-tqq", path], check=False, capture_output=True).returncode == 0


def test_an_entry_larger_than_a_block_and_an_empty_one_are_stored() -> None:
    large = bytes(range(256)) * 12_345
    seen: list[int] = []
    stream = io.BytesIO()

    write_archive(
        stream,
        [pending("architecture.json", b"{}"), pending("assets/large", large), pending("assets/empty", b"")],
        manifest,
        seen.append,
    )

    package = reader(stream.getvalue())
    assert package.read("assets/large") == large
    assert package.read("assets/empty") == b""
    assert sum(seen) == len(large) + 2


def test_a_window_is_a_stream_of_its_own() -> None:
    package = reader(package_bytes())

    with package.open("assets/README.md") as stream:
        assert stream.seek(-6, io.SEEK_END) == 9
        assert stream.read(3) == b"mod"
        assert stream.seek(0, io.SEEK_CUR) == stream.tell() == 12
        assert stream.read() == b"el\n"
        assert stream.read() == b""


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([pending("architecture.json", b"{}", size=3)], "package.size_mismatch"),
        ([pending("architecture.json", b"{}", size=1)], "package.size_mismatch"),
        ([pending("assets/a", b"1"), pending("assets/a", b"2")], "package.duplicate_entry"),
        ([pending("../a", b"1")], "package.unsafe_name"),
        ([pending("manifest.json", b"1")], "package.duplicate_entry"),
        ([pending("assets/a", b"\x80\x04.")], "package.pickle"),
        ([pending("assets/a", b"1")], "package.manifest"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(given: list[PendingEntry], code: str) -> None:
    with pytest.raises(MalformedPackageError) as refused:
        write_archive(io.BytesIO(), given, manifest)

    assert refused.value.code == code


def test_a_manifest_of_other_entries_is_not_written() -> None:
    other = {"architecture.json": Entry(digest=digest_of(b"x"), size_bytes=1)}

    with pytest.raises(MalformedPackageError, match="lists other entries"):
        write_archive(io.BytesIO(), [pending("architecture.json", b"{}")], lambda written: manifest(other))


def test_a_package_that_cannot_fit_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    with (tmp_path / "p").open("w+b") as stream:
        with pytest.raises(HostError, match=r"\d+ bytes needed, \d+ free") as refused:
            write_archive(stream, [pending("assets/a", b"", size=2**60)], manifest)
        assert stream.tell() == 0

    assert refused.value.code == "host.no_space"


def test_every_form_is_packed_again_to_the_same_bytes(tmp_path: Path) -> None:
    data = package_bytes()
    tree = DirectoryReader(write_directory(tmp_path / "tree"))
    from_tree, from_file = io.BytesIO(), io.BytesIO()

    assert repack(from_tree, tree) == tree.digest
    repack(from_file, reader(data))

    assert from_tree.getvalue() == from_file.getvalue() == data


def test_an_edited_entry_is_not_packed_again(tmp_path: Path) -> None:
    root = write_directory(tmp_path / "tree")
    (root / "assets/README.md").write_bytes(b"# A tiny mode1\n")

    with pytest.raises(DigestMismatchError) as refused:
        repack(io.BytesIO(), DirectoryReader(root))

    assert refused.value.entry == "assets/README.md"


def test_an_unknown_entry_is_not_found() -> None:
    package = reader(package_bytes())

    for ask in (package.read, package.open, package.locate, package.crc32):
        with pytest.raises(NotFoundError, match="no entry 'assets/none'") as refused:
            ask("assets/none")
        assert refused.value.code == "package.entry_not_found"


def test_a_window_can_be_read_through_a_buffer() -> None:
    package = reader(package_bytes())

    with io.BufferedReader(package.open("assets/README.md")) as stream:  # type: ignore[type-var]
        assert stream.seekable()
        assert stream.readline() == b"# A tiny model\n"


def test_a_signing_stands_before_the_manifest_and_outside_its_digest() -> None:
    package = reader(package_bytes())
    plain, signed = io.BytesIO(), io.BytesIO()
    repack(plain, package)
    signed.write(plain.getvalue()[: package.signing_offset])
    write_end(signed, list(package.records()), package.manifest_bytes, b'{"signed":true}')

    found = reader(signed.getvalue())

    assert found.signing == b'{"signed":true}'
    assert found.digest == package.digest
    assert found.names() == package.names()
    again = io.BytesIO()
    repack(again, found)
    assert again.getvalue() == signed.getvalue()
