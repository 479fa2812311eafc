"""The fuzzed targets without a fuzzer: seeds, what once broke them, and chance changes of both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.items import decoded, encoded
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.packages import entries

SEEDS = {target: list(seeds(target)) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_taken_or_refused(target: str) -> None:
    assert len(SEEDS[target]) >= 2

    for data in SEEDS[target]:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60)
@given(data=st.data())
def test_changed_seeds_are_taken_or_refused(target: str, data: st.DataObject) -> None:
    changed = bytearray(data.draw(st.sampled_from(SEEDS[target])))
    for _ in range(data.draw(st.integers(1, 6))):
        begin = data.draw(st.integers(0, len(changed)))
        end = begin + data.draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 64, 4096]))
        other = data.draw(st.sampled_from(SEEDS[target]))
        place = data.draw(st.integers(0, len(other)))
        piece = data.draw(st.one_of(st.binary(max_size=8), st.just(other[place : place + 64])))
        changed[begin:end] = piece

    TARGETS[target](bytes(changed))


@given(st.binary(max_size=300))
def test_any_bytes_stand_for_entries(data: bytes) -> None:
    items = decoded(data)

    assert sum(len(payload) for _, payload in items) <= len(data)


def test_entries_survive_their_encoding() -> None:
    items = sorted(entries().items())

    assert decoded(encoded(items)) == items
