"""Weights entries: aligned, minimal padding, readable by the safetensors library."""

from __future__ import annotations

import io
import tracemalloc
from functools import partial

import pytest

from hyperion.errors import MalformedPackageError
from hyperion.format.weights import TensorSlice, WeightTensor, read_header, weights_entry


def u8(name: str, size: int) -> WeightTensor:
    return WeightTensor(name, "U8", (size,), size, partial(bytes, size))


def header_of(tensors: list[WeightTensor]) -> tuple[bytes, dict[str, TensorSlice]]:
    with weights_entry(tensors).open() as stream:
        data = stream.read()
    return data, read_header(io.BytesIO(data), len(data), "weights/layer0.weights")


def test_every_tensor_begins_at_a_multiple_of_64_and_unaligned_ones_come_last() -> None:
    data, found = header_of([u8("odd", 7), u8("even", 128), u8("last", 3)])

    assert list(found) == ["even", "odd", "last"]
    assert all(piece.offset % 64 == 0 for piece in found.values())
    assert b"__pad0" in data
    assert b"__pad1" not in data
    assert len(data) == found["last"].offset + 3


def test_the_safetensors_library_reads_the_same_tensors() -> None:
    import numpy as np
    from safetensors.numpy import load

    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "ü": np.array(3, dtype=np.int64),
        "none": np.zeros((0, 3), np.float16),
    }
    data, found = header_of(
        [
            WeightTensor(name, {"f4": "F32", "i8": "I64", "f2": "F16"}[a.dtype.str[1:]], a.shape, a.nbytes, a.tobytes)
            for name, a in arrays.items()
        ]
    )

    loaded = load(data)

    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        piece = found[name]
        assert data[piece.offset :][: piece.size_bytes] == array.tobytes()
        assert piece.shape == array.shape


@pytest.mark.parametrize(
    "tensors",
    [
        [u8("a", 1), u8("a", 1)],
        [u8("__pad0", 1)],
        [u8("__metadata__", 1)],
        [WeightTensor("a", "I4", (2,), 1, bytes)],
        [WeightTensor("a", "F32", (2,), 4, bytes)],
    ],
)
def test_tensors_that_cannot_be_stored_are_refused(tensors: list[WeightTensor]) -> None:
    with pytest.raises(MalformedPackageError) as refused:
        weights_entry(tensors)

    assert refused.value.code == "package.weights"


def test_data_of_another_length_than_promised_is_a_bug() -> None:
    with pytest.raises(ValueError, match="gave 1 bytes instead of 2"):
        header_of([WeightTensor("a", "U8", (2,), 2, lambda: b"x")])


def test_one_tensor_at_a_time_is_in_memory() -> None:
    size = 8 * 1024 * 1024
    layout = weights_entry([u8(f"t{number}", size) for number in range(8)])
    buffer = bytearray(1024 * 1024)
    tracemalloc.start()

    with layout.open() as stream:
        total = 0
        while count := stream.readinto(buffer):  # type: ignore[attr-defined]
            total += count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert total == layout.size_bytes
    assert peak < 3 * size


def test_golden_tensors_need_no_alignment() -> None:
    import numpy as np
    from safetensors.numpy import save

    data = save({"input:x": np.zeros(3, np.float32), "output:y": np.zeros(5, np.int8)})

    found = read_header(io.BytesIO(data), len(data), "assets/golden/a.safetensors", aligned=False)

    assert set(found) == {"input:x", "output:y"}
