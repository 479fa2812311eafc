"""What a sandbox and its child exchange arrives as it was sent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hyperion.adapters.files.tensor_file import load_tensors, save_tensors

DTYPES = st.sampled_from(["bool", "uint8", "uint64", "int8", "int64", "float16", "float32", "float64"])
NUMBERS = DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=4)))
TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",))), max_size=5).map(
    lambda texts: np.array([*texts, None], dtype=object)[:-1]
)


class TestLoadedIsSaved:
    @given(tensors=st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), NUMBERS | TEXTS, max_size=3))
    def test_every_tensor_has_its_name_type_shape_and_values(self, tensors: dict[str, np.ndarray]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t"
            save_tensors(path, tensors)
            loaded = load_tensors(path)

        assert list(loaded) == list(tensors)
        for name, value in tensors.items():
            assert loaded[name].dtype == value.dtype
            np.testing.assert_array_equal(loaded[name], value)
