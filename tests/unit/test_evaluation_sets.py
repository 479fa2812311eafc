"""Drawing calibration, search and report sets."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion.quantization.sets import LARGEST, Row, draw

SHARES = {"calibration": 0.2, "search": 0.4, "report": 0.4}


def row(number: int, label: object = None) -> Row:
    return Row(sha256(str(number).encode()).digest(), label)


def rows(count: int, classes: int = 5) -> list[Row]:
    return [row(number, number % classes) for number in range(count)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=120), st.integers(0, 2**32 - 1))
def test_no_row_is_in_two_sets_and_equal_rows_are_together(pairs: list[tuple[int, int]], seed: int) -> None:
    found = draw(given_rows := [row(number, label) for number, label in pairs], SHARES, seed)

    places: dict[bytes, set[str]] = {}
    for name, positions in found.items():
        for position in positions:
            places.setdefault(given_rows[position].digest, set()).add(name)
    listed = [position for positions in found.values() for position in positions]
    assert all(len(names) == 1 for names in places.values())
    assert len(listed) == len(set(listed))


def test_every_class_has_its_share_of_every_set() -> None:
    found = draw(data := rows(500), SHARES, 0)

    for name, share in SHARES.items():
        counts = Counter(data[position].label for position in found[name])
        assert set(counts.values()) == {round(100 * share)}


@pytest.mark.parametrize(("count", "sets"), [(1, {"report"}), (2, {"report", "search"}), (3, set(SHARES))])
def test_a_rare_class_is_reported_first_then_searched(count: int, sets: set[str]) -> None:
    data = [*rows(100), *(row(1000 + number, "rare") for number in range(count))]

    found = draw(data, SHARES, 0)

    assert {name for name, positions in found.items() if any(position >= 100 for position in positions)} == sets


def test_a_seed_gives_the_same_sets_whatever_the_order_of_the_rows() -> None:
    data = rows(60)
    there, back = draw(data, SHARES, 7), draw(data[::-1], SHARES, 7)

    assert {n: {data[p].digest for p in ps} for n, ps in there.items()} == {
        n: {data[::-1][p].digest for p in ps} for n, ps in back.items()
    }


def test_another_seed_gives_other_sets() -> None:
    assert draw(rows(200), SHARES, 0) != draw(rows(200), SHARES, 1)


def test_large_data_are_not_all_used() -> None:
    found = draw(rows(30_000), SHARES, 0)

    assert {name: len(positions) for name, positions in found.items()} == LARGEST
