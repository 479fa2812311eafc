"""Memory of the machine and of control groups, read from folders that look as the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion.adapters.host.memory import MemorySources

MIB = 1024**2


def tree(root: Path, files: dict[str, str]) -> MemorySources:
    """A machine of 1000 MiB, 600 available, with these files besides."""
    meminfo = f"MemTotal: {1000 * 1024} kB\nMemFree: 5 kB\nMemAvailable: {600 * 1024} kB\nAnonPages: {300 * 1024} kB\n"
    for name, text in {"proc/meminfo": meminfo, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return MemorySources(root / "proc", root / "cgroup")


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    sources = tree(tmp_path, {})

    assert (sources.total_bytes(), sources.available_bytes()) == (1000 * MIB, 600 * MIB)
    assert sources.in_use_bytes() == 300 * MIB


@pytest.mark.parametrize("limited", ["cgroup", "cgroup/app.slice", "cgroup/app.slice/hyperion.service"])
def test_the_lowest_limit_on_the_way_up_holds(tmp_path: Path, limited: str) -> None:
    sources = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app.slice/hyperion.service\n",
            "cgroup/app.slice/hyperion.service/memory.max": "max\n",
            "cgroup/app.slice/memory.max": f"{900 * MIB}\n",
            f"{limited}/memory.max": f"{300 * MIB}\n",
            f"{limited}/memory.current": f"{200 * MIB}\n",
            f"{limited}/memory.stat": f"anon 1\ninactive_file {50 * MIB}\n",
        },
    )

    assert sources.total_bytes() == 300 * MIB
    assert sources.available_bytes() == 150 * MIB


def test_version_1_has_a_hierarchy_of_its_own(tmp_path: Path) -> None:
    sources = tree(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/docker/abc/memory.limit_in_bytes": f"{200 * MIB}\n",
            "cgroup/memory/docker/abc/memory.usage_in_bytes": f"{50 * MIB}\n",
        },
    )

    assert (sources.total_bytes(), sources.available_bytes()) == (200 * MIB, 150 * MIB)


def test_in_a_container_the_root_of_the_mount_is_the_group(tmp_path: Path) -> None:
    sources = tree(tmp_path, {"proc/self/cgroup": "0::/../../other\n", "cgroup/memory.max": f"{100 * MIB}\n"})

    assert sources.total_bytes() == 100 * MIB


def test_a_group_without_room_leaves_none(tmp_path: Path) -> None:
    sources = tree(
        tmp_path,
        {"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "10\n", "cgroup/memory.current": "20\n"},
    )

    assert sources.available_bytes() == 0


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    sources = MemorySources(tmp_path / "none", tmp_path / "none")

    assert (sources.total_bytes(), sources.available_bytes()) == (None, 0)


def test_this_machine_has_some() -> None:
    total, available = MemorySources().total_bytes(), MemorySources().available_bytes()

    assert total is not None
    assert 0 < available <= total
