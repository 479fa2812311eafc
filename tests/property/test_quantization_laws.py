"""Laws of rounding weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hyperion.domain.layer import MINIMUM_LAYER_BYTES, WeightUse, split_layers
from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.rounding import FULL_MAX, REDUCED_MAX, int8_by_axis, packed, w4_blocks

matrices = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=70),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


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
