"""Proving entries: whole or by chunks, in one thread or several, the verdict is the same and damage has a place."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hostile.forge import changed_manifest, pack, patched, records_of, with_chunks
from tests.packages import entries, package_bytes, write_directory, write_package

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.format.archive import ArchiveReader
from hyperion.format.chunk_tree import CHUNK_BYTES
from hyperion.format.proving import Proving, check_crcs, prove_entries
from hyperion.format.side_by_side import BLOCK_BYTES

BIG = "assets/big.bin"
BIG_BYTES = 3 * CHUNK_BYTES + 4097
"""Four chunks, the last of them short."""


@pytest.fixture(scope="module")
def payloads() -> dict[str, bytes]:
    return entries() | {BIG: b"data" + random.Random(0).randbytes(BIG_BYTES - 4)}


@pytest.fixture(scope="module")
def packed(payloads: dict[str, bytes]) -> bytes:
    return package_bytes(payloads)


def prove(path: Path, threads: int, progress: Callable[[int], None] | None = None) -> Proving:
    with LocalPackages().open(path) as package:
        return prove_entries(package, package.names(), threads, progress)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("write", [write_package, write_directory])
def test_a_sound_package_is_proven(write, threads: int, payloads: dict[str, bytes], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    told: list[int] = []

    found = prove(write(tmp_path / "p", payloads), threads, told.append)

    assert found.faults == {}
    assert [entry.name for entry in found.proven] == sorted([*payloads, "config/chunks.bin"])
    assert sum(told) == sum(map(len, payloads.values())) + 4 * 32
    assert [entry.name for entry in found.proven if entry.by_chunks] == ([BIG] if threads > 1 else [])
    assert all(entry.state is not None for entry in found.proven)


def test_entries_that_fill_the_threads_are_proven_whole(tmp_path: Path) -> None:
    half = random.Random(1).randbytes(2 * CHUNK_BYTES + 1)
    path = write_package(tmp_path / "p", entries() | {"assets/a": half, "assets/b": half, "assets/c": half})

    assert not any(entry.by_chunks for entry in prove(path, 2).proven)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("position", "place"),
    [
        (0, "bytes 0–4194303 (chunk 1 of 4) are damaged"),
        (2 * CHUNK_BYTES, "bytes 8388608–12582911 (chunk 3 of 4) are damaged"),
        (BIG_BYTES - 1, "bytes 12582912–12587008 (chunk 4 of 4) are damaged"),
    ],
)
def test_damage_has_a_place(position: int, place: str, threads: int, packed: bytes, tmp_path: Path) -> None:
    at = records_of(packed)[BIG].payload_offset + position
    (tmp_path / "p").write_bytes(patched(packed, at, bytes([packed[at] ^ 16])))

    found = prove(tmp_path / "p", threads)

    assert list(found.faults) == [BIG]
    assert found.faults[BIG].code == "package.digest_mismatch"
    assert found.faults[BIG].message.endswith(place)
    assert found.faults[BIG].expected != found.faults[BIG].actual


def test_damage_in_neighbouring_chunks_is_one_range(packed: bytes, tmp_path: Path) -> None:
    begin = records_of(packed)[BIG].payload_offset
    (tmp_path / "p").write_bytes(patched(packed, begin + CHUNK_BYTES - 8, bytes(16)))

    found = prove(tmp_path / "p", 2)

    assert "bytes 0–8388607 (chunks 1–2 of 4)" in found.faults[BIG].message


@pytest.mark.parametrize("threads", [1, 2])
def test_where_the_list_of_chunks_is_damaged_entries_are_still_proven_by_their_digest(
    threads: int, packed: bytes, tmp_path: Path
) -> None:
    at = records_of(packed)["config/chunks.bin"].payload_offset
    (tmp_path / "p").write_bytes(patched(packed, at, bytes([packed[at] ^ 1])))

    found = prove(tmp_path / "p", threads)

    assert list(found.faults) == ["config/chunks.bin"]
    assert BIG in [entry.name for entry in found.proven if not entry.by_chunks]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_lie_in_a_crc_is_found(threads: int, payloads: dict[str, bytes], tmp_path: Path) -> None:
    whole = with_chunks(payloads)
    (tmp_path / "p").write_bytes(pack_with_wrong_crc(whole))

    found = prove(tmp_path / "p", threads)

    assert {name: fault.code for name, fault in found.faults.items()} == {BIG: "package.crc"}


def pack_with_wrong_crc(payloads: dict[str, bytes]) -> bytes:
    """A package whose archive states another CRC of the big entry, in both places."""
    from tests.hostile.forge import honest_manifest, pack_only

    items = [*sorted(payloads.items()), ("manifest.json", honest_manifest(payloads))]
    return pack_only(items, wrong_crc=BIG)


def test_a_digest_that_contradicts_the_chunks_is_found_by_whoever_computes_it(
    payloads: dict[str, bytes], tmp_path: Path
) -> None:
    whole = with_chunks(payloads)
    other = "sha256:" + "0" * 64
    (tmp_path / "p").write_bytes(
        pack(whole, changed_manifest(lambda tree: tree["entries"][BIG].update(digest=other), whole))
    )

    assert "contradict each other" in prove(tmp_path / "p", 1).faults[BIG].message
    assert [entry.by_chunks for entry in prove(tmp_path / "p", 2).proven if entry.name == BIG] == [True]


@pytest.mark.parametrize("threads", [1, 2])
def test_crcs_alone_find_damage(threads: int, packed: bytes, tmp_path: Path) -> None:
    at = records_of(packed)[BIG].payload_offset + CHUNK_BYTES
    (tmp_path / "p").write_bytes(patched(packed, at, bytes([packed[at] ^ 1])))

    with LocalPackages().open(tmp_path / "p") as package:
        assert isinstance(package, ArchiveReader)
        faults = check_crcs(package, threads)

    assert {name: fault.code for name, fault in faults.items()} == {BIG: "package.crc"}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:5]])
def test_a_file_that_changes_its_length_after_it_was_opened_is_named(
    change: Callable[[bytes], bytes], threads: int, payloads: dict[str, bytes], tmp_path: Path
) -> None:
    folder = write_directory(tmp_path / "p", payloads)
    with LocalPackages().open(folder) as package:
        (folder / BIG).write_bytes(change(payloads[BIG]))

        found = prove_entries(package, package.names(), threads)

    assert {name: fault.code for name, fault in found.faults.items()} == {BIG: "package.size_mismatch"}


@pytest.mark.parametrize("threads", [1, 4])
def test_a_file_that_is_gone_is_an_error_of_the_system(
    threads: int, payloads: dict[str, bytes], tmp_path: Path
) -> None:
    folder = write_directory(tmp_path / "p", payloads)
    with LocalPackages().open(folder) as package:
        (folder / "architecture.json").unlink()

        with pytest.raises(FileNotFoundError):
            prove_entries(package, package.names(), threads)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1])
def test_sizes_around_a_block_are_proven(size: int, tmp_path: Path) -> None:
    path = write_package(tmp_path / "p", entries() | {"assets/x": b"a" * size})

    assert prove(path, 2).faults == {}
