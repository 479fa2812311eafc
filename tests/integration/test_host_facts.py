"""Facts of this very machine."""

from __future__ import annotations

import mmap
import os
import socket
from pathlib import Path

import pytest

from hyperion.adapters.host import hardware_counters
from hyperion.adapters.host.hardware_counters import COUNTERS, HardwareCounters
from hyperion.adapters.host.host_facts import LocalHostFacts
from hyperion.adapters.host.process_usage import peak_resident_bytes, resident_bytes


@pytest.fixture
def facts(tmp_path: Path) -> LocalHostFacts:
    return LocalHostFacts(tmp_path / "not" / "yet" / "there")


def test_the_profile_names_system_processor_memory_and_disk(facts: LocalHostFacts) -> None:
    profile = facts.platform()

    assert profile.name in ("linux/amd64", "linux/arm64")
    assert profile.cores == os.cpu_count()
    assert profile.cpu_features is not None
    assert len(profile.cpu_features) > 3
    assert profile.memory_bytes is not None
    assert 0 < facts.memory_available_bytes() <= profile.memory_bytes
    assert profile.disk_free_bytes is not None


def test_a_process_shows_what_it_took_and_one_that_is_gone_shows_nothing(facts: LocalHostFacts) -> None:
    usage = facts.process(os.getpid())

    assert usage is not None
    assert usage.cpu_s > 0
    assert usage.resident_bytes > 1_000_000
    assert facts.process(2**22 + 1) is None


def test_a_share_of_common_pages_is_told_only_to_who_asks(facts: LocalHostFacts) -> None:
    asked, not_asked = (facts.process(os.getpid(), proportional=wanted) for wanted in (True, False))

    assert asked is not None
    assert not_asked is not None
    assert asked.proportional_bytes
    assert not_asked.proportional_bytes is None


def test_the_peak_of_this_process_is_at_least_what_it_has_now() -> None:
    assert peak_resident_bytes() >= resident_bytes() * 0.99 > 0


def test_a_file_just_written_lies_in_the_page_cache_and_one_that_was_dropped_does_not(
    facts: LocalHostFacts, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(64 * mmap.PAGESIZE + 1))
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        before = facts.page_cache_resident_ratio([path])
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    after = facts.page_cache_resident_ratio([path])

    assert before == 1.0
    assert after is not None
    assert after < 0.5


def test_what_the_page_cache_holds_of_no_pages_is_unknown(facts: LocalHostFacts, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert facts.page_cache_resident_ratio([]) is None
    assert facts.page_cache_resident_ratio([tmp_path / "empty"]) is None
    assert facts.page_cache_resident_ratio([tmp_path / "none"]) is None


def test_hardware_counters_are_counts_or_none_with_the_reason(facts: LocalHostFacts) -> None:
    counts, reason = facts.hardware_counters([os.getpid()], 0.01)

    assert tuple(counts) == COUNTERS
    assert all(value is None for value in counts.values()) == (reason is not None)


def test_counters_of_no_process_say_so(facts: LocalHostFacts) -> None:
    assert facts.hardware_counters([2**22 + 1], 60)[1] == "there is no process to count"


def test_counters_of_this_process_count_while_they_run() -> None:
    counters = HardwareCounters()
    counters.start()
    sum(range(100_000))
    counters.stop()
    counts = counters.read()
    counters.close()

    if counters.unavailable is None:
        assert counts["instructions"] is not None
        assert counts["instructions"] > 100_000
    else:
        assert set(counts.values()) == {None}
        assert "perf_event_open" in counters.unavailable


def test_counting_itself_works_with_the_events_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same system calls as for hardware events, on a machine without them: page faults and clocks."""
    software = {"cycles": (1, 1), "instructions": (1, 2), "cache_references": (1, 3), "cache_misses": (1, 4)}
    monkeypatch.setattr(hardware_counters, "_EVENTS", software)

    counters = HardwareCounters()
    before = counters.read()
    counters.start()
    bytearray(50_000_000)
    counters.stop()
    after = counters.read()
    bytearray(50_000_000)
    unchanged = counters.read()
    counters.close()

    if counters.unavailable is not None:
        pytest.skip(counters.unavailable)
    assert before == dict.fromkeys(COUNTERS, 0)
    assert after["cycles"] is not None
    assert after["cycles"] > 0
    assert unchanged == after


def test_a_port_is_free_until_someone_listens(facts: LocalHostFacts) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not facts.port_is_free("127.0.0.1", port)
    assert facts.port_is_free("127.0.0.1", port)
    assert facts.port_is_free("localhost", 0)
    assert not facts.port_is_free("192.0.2.1", 0)


def test_disk_usage_is_what_the_blocks_of_a_tree_take(facts: LocalHostFacts, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 100_000)
    (tmp_path / "c").write_bytes(b"x" * 100_000)

    one, both = facts.disk_usage(tmp_path / "c"), facts.disk_usage(tmp_path)

    assert 100_000 <= one < 200_000
    assert both == 2 * one


def test_the_user_has_a_name(facts: LocalHostFacts) -> None:
    assert facts.user()
