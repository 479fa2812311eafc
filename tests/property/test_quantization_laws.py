"""Laws of rounding weights."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import NodeProto, TensorProto

from hyperion.domain.layer import MINIMUM_LAYER_BYTES, WeightUse, split_layers
from hyperion.domain.manifest import WeightScheme
from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.distortion import Distortion, Tally
from hyperion.quantization.lines import TILE_ELEMENTS, Lines
from hyperion.quantization.parts import parts_of, round_into
from hyperion.quantization.rounding import FULL_MAX, REDUCED_MAX, int8_by_axis, packed, w4_blocks, w8_blocks
from hyperion.quantization.static_ranges import affine
from hyperion.quantization.survey import FloatWeight, Reader

matrices = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=70),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


halves = matrices.map(lambda weight: weight / np.float32(100))
"""Within the range of float16."""


class TestInt8:
    @given(matrices, st.sampled_from([0, 1]), st.sampled_from([REDUCED_MAX, FULL_MAX]))
    def test_every_weight_is_within_half_a_step(self, weight: np.ndarray, axis: int, largest: int) -> None:
        values, scales = int8_by_axis(weight, axis, largest)
        steps = scales.reshape(-1, 1) if axis == 0 else scales.reshape(1, -1)

        assert np.abs(values).max() <= largest
        assert (np.abs(values * steps.astype(np.float64) - weight) <= steps * 0.5001).all()

    def test_zeros_stay_zero(self) -> None:
        values, scales = int8_by_axis(np.zeros((3, 4), np.float32), 1, REDUCED_MAX)

        assert not values.any()
        assert (scales == 1).all()


class TestW4:
    @given(matrices)
    def test_every_weight_is_within_a_step_of_its_block(self, weight: np.ndarray) -> None:
        blocks = w4_blocks(weight)
        rows, columns = weight.shape
        zeros = unpacked(blocks.zero_points)[:, : blocks.scales.shape[1], None].astype(np.float64)
        steps = blocks.scales[..., None].astype(np.float64)
        restored = ((unpacked(blocks.values) - zeros) * steps).reshape(rows, -1)[:, :columns]
        step_of = np.repeat(blocks.scales, W4_BLOCK, axis=1)[:, :columns]

        assert (np.abs(restored - weight) <= step_of * 1.001).all()

    @given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3), elements=st.integers(0, 15)))
    def test_packing_loses_nothing(self, values: np.ndarray) -> None:
        assert np.array_equal(unpacked(packed(values))[..., : values.shape[-1]], values)


class TestW8:
    @given(matrices)
    def test_every_weight_is_within_half_a_step_of_its_block(self, weight: np.ndarray) -> None:
        blocks = w8_blocks(weight)
        columns = weight.shape[1]
        step_of = np.repeat(blocks.scales, W4_BLOCK, axis=1)[:, :columns]

        assert (np.abs(blocks.restored(columns).astype(np.float64) - weight) <= step_of * 0.5001).all()
        assert blocks.values.min(initial=128) >= 1  # so that -zero is never out of range


class TestTiles:
    @given(halves, st.booleans(), st.sampled_from(["int8", "w8", "w4", "fp16"]))
    @settings(deadline=None)
    def test_how_a_weight_lies_in_memory_does_not_show(
        self, weight: np.ndarray, down: bool, scheme: WeightScheme
    ) -> None:
        reading = Reader("", NodeProto(), "matmul" if down else "turned")
        dims = weight.shape[::-1] if down else weight.shape
        found = FloatWeight("w", TensorProto(name="w", dims=dims), (reading,), None)
        parts = {name: np.zeros(part.shape, part.dtype) for name, part in parts_of(found, scheme).items()}
        turned = FloatWeight("w", TensorProto(name="w", dims=weight.shape), (Reader("", NodeProto(), "turned"),), None)
        wanted = {name: np.zeros(part.shape, part.dtype) for name, part in parts_of(turned, scheme).items()}
        one = round_into(parts, Lines(weight, down), found, scheme, full_range=False)
        other = round_into(wanted, Lines(weight, False), turned, scheme, full_range=False)

        if scheme == "fp16" and down:
            wanted = {"fp16": wanted["fp16"].T}
        assert all(np.array_equal(parts[name], wanted[name], equal_nan=True) for name in wanted)
        assert one == other or scheme == "fp16"

    @given(st.integers(1, 5000), st.integers(1, 5000), st.booleans())
    def test_tiles_cover_every_element_once(self, count: int, length: int, down: bool) -> None:
        weight = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (count, length), (0, 0))
        seen: list[tuple[slice, slice]] = []

        Lines(weight, down).each(lambda where, _: seen.append(where))

        sizes = [(lines.stop - lines.start) * (part.stop - part.start) for lines, part in seen]
        assert sum(sizes) == count * length
        assert max(sizes) <= TILE_ELEMENTS
        assert len({(lines.start, part.start) for lines, part in seen}) == len(seen)
        assert all(part.start % (2 * W4_BLOCK) == 0 for _, part in seen)  # zero points are packed by two


class TestDistortion:
    @given(arrays.arrays(np.float32, 64, elements=st.floats(-1e3, 1e3, width=32)), st.floats(1e-4, 0.5))
    def test_figures_are_those_of_their_definitions(self, weight: np.ndarray, share: float) -> None:
        restored = (weight * np.float32(1 + share)).astype(np.float32)
        restored[::2] = weight[::2]
        want, have = weight.astype(np.float64), restored.astype(np.float64)
        noise = ((want - have) ** 2).sum()
        assume(noise > 1e-9 * (want**2).sum() > 0)
        tally = Tally()

        tally.add(weight.reshape(8, 8), restored.copy().reshape(8, 8))
        found = tally.result()

        assert found.sqnr_db == pytest.approx(10 * np.log10((want**2).sum() / noise), abs=0.02)
        assert found.cosine == pytest.approx(want @ have / np.sqrt((want @ want) * (have @ have)), abs=2e-6)

    @given(st.lists(st.integers(-100, 100).map(lambda power: 2.0**power), min_size=2, max_size=6), st.randoms())
    def test_the_order_of_tiles_does_not_matter(self, scales: list[float], random: Random) -> None:
        drawn = np.random.default_rng(0).normal(size=(len(scales), 32)).astype(np.float32)
        tiles = [
            (row * np.float32(scale), np.float32(scale) * np.rint(row))
            for row, scale in zip(drawn, scales, strict=True)
        ]
        results = set()
        for _ in range(3):
            random.shuffle(tiles)
            tally = Tally()
            for weight, restored in tiles:
                tally.add(weight, restored.copy())
            results.add(tally.result())

        assert len(results) == 1

    def test_nothing_lost_has_no_ratio(self) -> None:
        tally = Tally()
        tally.add(np.ones(4, np.float32), np.ones(4, np.float32))

        assert tally.result() == Distortion(None, 1.0)


class TestActivations:
    @given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
    def test_a_measured_range_fits_and_zero_is_exact(self, low: float, width: float) -> None:
        steps = affine(low, low + width)

        least, largest = -steps.zero * steps.scale, (255 - steps.zero) * steps.scale
        assert least <= min(low, 0) + 0.5001 * steps.scale
        assert largest >= max(low + width, 0) - 0.5001 * steps.scale

    @given(st.floats(1e-3, 1e6), st.floats(-1e-7, 1e-7))
    def test_the_last_digits_of_a_range_hardly_ever_show(self, high: float, noise: float) -> None:
        mantissa = np.frexp(high)[0] * 64
        assume(abs(mantissa - round(mantissa)) > 1e-4)

        assert affine(0.0, high) == affine(0.0, high * (1 + noise))


class TestLayers:
    uses = st.lists(
        st.tuples(
            st.text(alphabet="ab01./_", min_size=1, max_size=8),
            st.integers(1, 3),
            st.integers(0, 3 * MINIMUM_LAYER_BYTES),
        ),
        max_size=12,
    )

    @given(uses)
    def test_every_weight_is_in_exactly_one_layer(self, drawn: list[tuple[str, int, int]]) -> None:
        uses = [WeightUse(f"{i}", name, name, rank, size) for i, (name, rank, size) in enumerate(drawn)]

        plans = split_layers(uses)

        assert sorted(key for plan in plans for key in plan.keys) == sorted(use.key for use in uses)
        assert all(plan.keys for plan in plans)

    @given(uses)
    def test_only_the_last_layer_may_be_small(self, drawn: list[tuple[str, int, int]]) -> None:
        uses = [WeightUse(f"{i}", name, name, rank, size) for i, (name, rank, size) in enumerate(drawn)]
        sizes = {use.key: use.size_bytes for use in uses}

        for plan in split_layers(uses)[:-1]:
            assert sum(sizes[key] for key in plan.keys) >= MINIMUM_LAYER_BYTES


def unpacked(values: np.ndarray) -> np.ndarray:
    """The 4-bit values of packed bytes, low nibble first."""
    return np.stack([values & 15, values >> 4], axis=-1).reshape(*values.shape[:-1], -1)
