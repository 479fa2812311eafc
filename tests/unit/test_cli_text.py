"""Text from packages and users cannot act on a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from hyperion.cli.text import bytes_for_people, clean


@given(st.text(alphabet=st.characters()))
def test_cleaned_text_has_no_control_character(text: str) -> None:
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in clean(text))


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_text_without_such_characters_is_left_alone(text: str) -> None:
    assert clean(text) == text


def test_escape_sequences_newlines_and_direction_overrides_become_visible() -> None:
    assert clean("a\x1b[31m\nb\u202ec\x9b\udcff") == "a\\x1b[31m\\nb\\u202ec\\x9b\\udcff"


def test_newlines_stay_where_they_are_asked_for() -> None:
    assert clean("a\n\x1bb", keep_newlines=True) == "a\n\\x1bb"


def test_sizes_have_binary_units() -> None:
    assert [bytes_for_people(size) for size in (0, 1023, 1024, 5 * 1024**2, 2048 * 1024**4)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "2048.0 TiB",
    ]  # fmt: skip
