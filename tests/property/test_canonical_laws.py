"""The quick canonical JSON is the exact one, to the byte."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from hyperion.domain.canonical import LARGEST_WHOLE, canonical
from hyperion.domain.document import JsonValue

NUMBERS = st.integers(-LARGEST_WHOLE, LARGEST_WHOLE) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\0\x1f\x7f\\"/é')
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text("aB1\uffff\U00010000"), inner))


@given(VALUES)
@example({"\uffff": 1, "\U00010000": 2})
@example([30.0, -0.0, 0.1, 1e-4, 9e-5, 1e15 + 0.5, 1e16, 1e21, 2.0**53, -1.5e-7])
def test_it_is_what_rfc_8785_says(value: JsonValue) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [2**53, float("nan"), float("inf"), "\ud800", {"a": ["\udcff"]}])
def test_what_has_no_canonical_form_is_refused(value: JsonValue) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical(value)
