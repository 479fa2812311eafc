"""Damage by position: which bytes of a package are structure, and whether a changed copy is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from hyperion.domain.manifest import MANIFEST
from hyperion.errors import PackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.block_pump import BlockPump
from tests.hostile.doors import read_wholly
from tests.hostile.forge import pack, records_of
from tests.packages import entries

LAYER = "weights/layer0.weights"


def payload_positions(data: bytes) -> Iterator[int]:
    """The bytes of a good package that are no structure: payloads but for manifest.json and tensor headers."""
    for name, record in records_of(data).items():
        begin = record.payload_offset
        if name == MANIFEST:
            continue
        if name.startswith("weights/"):
            begin += 8 + int.from_bytes(data[begin : begin + 8], "little")
        yield from range(begin, record.end)


def structural_positions(data: bytes) -> list[int]:
    """All other bytes: headers, padding, directory, end records, manifest.json, tensor headers."""
    return sorted(set(range(len(data))) - set(payload_positions(data)))


def refuses(data: bytes, pump: BlockPump) -> bool:
    """Whether a full reading refuses this file; anything else that it raises is a bug and comes out."""
    try:
        with ArchiveReader(io.BytesIO(data), "damaged", Path("/nowhere")) as package:
            read_wholly(package, pump)
    except PackageError:
        return True
    return False


def resealed_headers(step: int = 1) -> Iterator[tuple[str, bytes]]:
    """Packages with one bit of a tensor header changed and its digest and CRC made anew: only its own rules refuse it.

    Args:
        step: 1 for every byte.
    """
    payloads = entries()
    layer = payloads[LAYER]
    end = layer.index(b"}}") + 2 + 16  # the padding behind is all alike
    for position in range(0, end, step):
        for bit in range(8):
            changed = bytearray(layer)
            changed[position] ^= 1 << bit
            yield f"byte {position}, bit {bit}", pack({**payloads, LAYER: bytes(changed)})
