"""Updating in place: whatever the sizes before and after, the file is the one that packaging would have made."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.crash.scenario import MemoryFile
from tests.packages import package_bytes

from hyperion.domain.manifest import SIGNING
from hyperion.format.archive import ArchiveReader
from hyperion.format.random_access import RandomAccess
from hyperion.format.recovery import find_interrupted, repair
from hyperion.format.update import Ending, settle, write_ahead, written_ahead

sizes = st.one_of(st.integers(0, 600), st.integers(0, 70_000))
signings = st.one_of(st.none(), st.binary(max_size=6_000))


def packed(description_bytes: int, signing: bytes | None) -> tuple[bytes, Ending]:
    """A fresh package, and its ending."""
    data = package_bytes(description="d" * description_bytes)
    with ArchiveReader(io.BytesIO(data), "p", Path("p")) as package:
        payloads = tuple(record for record in package.records() if record.name != SIGNING)
        ending = Ending(payloads, package.manifest_bytes, signing)
    return data[: ending.begin] + ending.data, ending


class TestUpdateInPlace:
    @settings(max_examples=40)
    @given(sizes, signings, sizes, signings)
    def test_the_file_is_the_one_that_packaging_makes(
        self, before: int, signed: bytes | None, after: int, signing: bytes | None
    ) -> None:
        (old, _), (new, ending) = packed(before, signed), packed(after, signing)
        file = MemoryFile(old)

        write_ahead(file, len(old), written_ahead(len(old), ending))
        settle(file, ending)

        assert file.data == new

    @settings(max_examples=40)
    @given(sizes, signings, sizes, signings)
    def test_written_ahead_it_is_found_and_finished(
        self, before: int, signed: bytes | None, after: int, signing: bytes | None
    ) -> None:
        (old, _), (new, ending) = packed(before, signed), packed(after, signing)
        file = MemoryFile(old)
        write_ahead(file, len(old), written_ahead(len(old), ending))

        found = find_interrupted(RandomAccess(io.BytesIO(bytes(file.data))))

        assert found is not None
        assert found.ahead is not None
        repair(file, found)
        assert file.data == new

    @settings(max_examples=40)
    @given(sizes, signings, sizes, st.data())
    def test_cut_off_while_it_is_written_ahead_it_is_taken_back(
        self, before: int, signed: bytes | None, after: int, data: st.DataObject
    ) -> None:
        (old, _), (_, ending) = packed(before, signed), packed(after, None)
        ahead = written_ahead(len(old), ending)
        file = MemoryFile(old + ahead[: data.draw(st.integers(1, len(ahead) - 1))])

        found = find_interrupted(RandomAccess(io.BytesIO(bytes(file.data))))

        assert found is not None
        repair(file, found)
        assert file.data == old

    @settings(max_examples=40)
    @given(sizes, signings)
    def test_a_healthy_package_is_not_taken_for_an_interrupted_one(self, size: int, signed: bytes | None) -> None:
        data, _ = packed(size, signed)

        assert find_interrupted(RandomAccess(io.BytesIO(data))) is None
