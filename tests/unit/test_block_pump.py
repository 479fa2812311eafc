"""Fingerprints are those of the standard library, whatever the size, with the blocks in order."""

from __future__ import annotations

import hashlib
import io
import random
import zlib

import pytest

from hyperion.errors import MalformedPackageError
from hyperion.format.block_pump import BlockPump
from hyperion.format.limits import BLOCK_BYTES


@pytest.mark.parametrize("size", [0, 1, 511, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 6 * BLOCK_BYTES + 5])
def test_bytes_arrive_whole_with_their_fingerprints(size: int) -> None:
    data = random.Random(size).randbytes(size)
    written, looked, progress = bytearray(), [], []

    with BlockPump() as pump:
        found = pump.pump(
            io.BytesIO(data),
            size,
            "data",
            write=written.extend,
            look=lambda block: looked.append(len(block)),
            progress=progress.append,
        )

    assert bytes(written) == data
    assert found.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert found.crc32 == zlib.crc32(data)
    assert looked == [min(size, BLOCK_BYTES)]
    assert sum(progress) == size


@pytest.mark.parametrize(("found", "claimed"), [(10, 11), (11, 10), (0, 1), (1, 0), (3 * BLOCK_BYTES, 4 * BLOCK_BYTES)])
def test_a_source_of_another_size_is_refused(found: int, claimed: int) -> None:
    with BlockPump() as pump, pytest.raises(MalformedPackageError) as refused:
        pump.pump(io.BytesIO(bytes(found)), claimed, "data")

    assert refused.value.code == "package.size_mismatch"


def test_a_pump_is_used_again_after_a_failure() -> None:
    def fail(block: memoryview) -> None:
        raise OSError(28, "No space left on device")

    data = bytes(5 * BLOCK_BYTES)
    with BlockPump() as pump:
        with pytest.raises(OSError, match="No space"):
            pump.pump(io.BytesIO(data), len(data), "data", write=fail)
        found = pump.pump(io.BytesIO(data), len(data), "data")

    assert found.digest == "sha256:" + hashlib.sha256(data).hexdigest()
