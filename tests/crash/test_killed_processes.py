"""A sample of the loops that are killed (a hundred: make crash)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.kills import kills


@pytest.mark.parametrize(("kind", "count"), [("pack", 2), ("update", 5), ("extract", 3)])
def test_what_a_killed_process_leaves_is_old_or_new(kind: str, count: int, tmp_path: Path) -> None:
    assert len(list(kills(kind, tmp_path / "work", random.Random(7), count))) == count
