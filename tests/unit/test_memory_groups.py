"""Memory limits by control groups, on folders that look as the kernel's do; the kernel itself is not asked here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hyperion.adapters.host.memory_cgroup import MemoryGroups, find_groups

LIMIT = 512 * 1024**2


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """A delegated group that holds this process."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    return tmp_path


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    return tmp_path


def test_in_version_1_the_worker_gets_a_group_with_its_limit(v1: Path) -> None:
    found = MemoryGroups(v1).limit(77, LIMIT)
    group = v1 / "hyperion-w77"
    assert found.in_force
    assert "512 MiB" in found.detail
    assert (group / "memory.limit_in_bytes").read_text() == str(LIMIT)
    assert (group / "cgroup.procs").read_text() == "77"


def test_in_version_2_the_supervisor_leaves_the_group_that_gives_controllers(v2: Path) -> None:
    # given: as the kernel does it, files come with a group
    for name in ("supervisor", "hyperion-w77"):
        (v2 / name).mkdir()
        (v2 / name / "cgroup.controllers").write_text("memory\n")
    # when
    found = MemoryGroups(v2).limit(77, LIMIT)
    # then
    assert found.in_force
    assert (v2 / "supervisor" / "cgroup.procs").read_text() == str(os.getpid())
    assert (v2 / "cgroup.subtree_control").read_text() == "+memory"
    assert (v2 / "hyperion-w77" / "memory.max").read_text() == str(LIMIT)
    assert (v2 / "hyperion-w77" / "memory.swap.max").read_text() == "0"


def test_without_a_group_that_was_given_to_us_nothing_is_made(tmp_path: Path) -> None:
    # given: a group that holds us, and that nobody delegated
    group = tmp_path / "memory" / "somebody" / "s"
    group.mkdir(parents=True)
    (group / "memory.oom_control").write_text("oom_kill 3\n")
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/somebody/s\n0::/\n")
    groups = find_groups({}, own, tmp_path)
    # when
    found = groups.limit(77, LIMIT)
    # then: it is said, and only read
    assert not found.in_force
    assert "HYPERION_CGROUP" in found.detail
    assert [path.name for path in group.iterdir()] == ["memory.oom_control"]
    assert groups.kills(77) == 3


def test_the_group_that_the_operator_names_is_taken(v1: Path) -> None:
    groups = find_groups({"HYPERION_CGROUP": str(v1)}, v1 / "none", v1)
    assert groups.limit(77, LIMIT).in_force
    assert groups.has_group(77)


def test_a_group_that_takes_no_limit_is_said(tmp_path: Path) -> None:
    found = MemoryGroups(tmp_path / "gone").limit(77, LIMIT)
    assert not found.in_force
    assert "gone" in found.detail


def test_kills_are_those_of_the_workers_own_group(v1: Path) -> None:
    groups = MemoryGroups(v1, v1)
    groups.limit(77, LIMIT)
    (v1 / "hyperion-w77" / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    assert groups.kills(77) == 1
    assert groups.kills(78) == 0


def test_where_nothing_is_counted_it_is_not_known() -> None:
    assert MemoryGroups(None).kills(1) is None
