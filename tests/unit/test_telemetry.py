"""Slot files and what /metrics makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hyperion.domain.metrics import ERROR_CAUSES, LATENCY_BOUNDS_S
from hyperion.serving.exposition import render_metrics
from hyperion.serving.telemetry import (
    INFLIGHT,
    SIZE_BYTES,
    Slot,
    SlotLabels,
    forget_slots,
    read_slots,
    retire_slot,
)

LABELS = SlotLabels("shop", "mnist", "1.0.0", 1)


def samples(folder: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(render_metrics(read_slots(folder)))
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(folder: Path, name: str, revision: int = 1, **labels: str) -> float:
    all_labels = {
        "deployment": "shop", "model": "mnist", "version": "1.0.0", "revision": str(revision), **labels,
    }  # fmt: skip
    return samples(folder)[(name, tuple(sorted(all_labels.items())))]


def test_counts_are_read_by_others(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "r1-w0", LABELS)
    slot.begin(1000)
    slot.answered(2_000_000, 50)
    slot.failed("engine")
    slot.ran(1_500_000)
    (reading,) = read_slots(tmp_path)
    assert (reading.worker, reading.labels, reading.alive) == ("r1-w0", LABELS, True)
    assert (reading.requests, reading.sent_bytes, reading.failures) == (1, 50, {"engine": 1})
    assert reading.latency.total == 1
    assert reading.latency.sum_s == pytest.approx(0.002)
    slot.close()


def test_how_many_requests_shared_a_run_is_a_histogram_over_all_workers(tmp_path: Path) -> None:
    for worker, batches in (("r1-w0", (1, 3, 8)), ("r1-w1", (8, 100))):
        slot = Slot(tmp_path, worker, LABELS)
        for requests in batches:
            slot.batched(requests)
        slot.close()
    sizes = {bound: value(tmp_path, "hyperion_batch_size_bucket", le=bound) for bound in ("1", "2", "4", "8", "+Inf")}
    assert sizes == {"1": 1, "2": 1, "4": 2, "8": 4, "+Inf": 5}
    assert value(tmp_path, "hyperion_batch_size_sum") == 120
    assert value(tmp_path, "hyperion_batch_size_count") == 5


def test_a_respawned_worker_goes_on_counting_where_its_predecessor_ended(tmp_path: Path) -> None:
    for _ in range(3):
        slot = Slot(tmp_path, "r1-w0", LABELS)
        slot.begin(1000)
        slot.answered(1000, 1)
        slot.close()
        retire_slot(tmp_path, "r1-w0")
    (reading,) = read_slots(tmp_path)
    assert (reading.requests, reading.starts, reading.alive) == (3, 3, False)


def test_two_processes_never_count_in_one_file(tmp_path: Path) -> None:
    first, second = Slot(tmp_path, "r1-w0", LABELS), Slot(tmp_path, "r1-w0", LABELS)
    for slot in (first, second):
        slot.begin(1000)
        slot.answered(1000, 1)
    assert [reading.requests for reading in read_slots(tmp_path)] == [1, 1]
    assert value(tmp_path, "hyperion_requests_total") == 2
    first.close()
    retire_slot(tmp_path, "r1-w0")
    assert value(tmp_path, "hyperion_workers") == 1
    second.close()


def test_a_dead_worker_has_nothing_in_flight(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "r1-w0", LABELS)
    slot.begin(1000)
    slot.counters[INFLIGHT] = 3
    assert value(tmp_path, "hyperion_requests_in_flight") == 3
    slot.close()
    retire_slot(tmp_path, "r1-w0")
    assert value(tmp_path, "hyperion_requests_in_flight") == 0
    retire_slot(tmp_path, "r1-w7")  # never counted: nothing happens


def test_foreign_and_torn_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.slot").write_bytes(b"something else")
    (tmp_path / "b.slot").write_bytes(b"HYPSLOT1" + bytes(SIZE_BYTES - 8))
    assert read_slots(tmp_path) == ()
    assert read_slots(tmp_path / "absent") == ()


def test_a_file_that_is_no_slot_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "r1-w0.slot").write_bytes(b"x" * 9999)
    slot = Slot(tmp_path, "r1-w0", LABELS)
    slot.begin(1)
    slot.close()
    assert [reading.requests for reading in read_slots(tmp_path)] == [0]


def test_the_text_is_prometheus_text_with_the_sum_of_all_workers(tmp_path: Path) -> None:
    for index in range(2):
        slot = Slot(tmp_path, f"r1-w{index}", LABELS)
        slot.begin(1000)
        slot.answered(3_000_000, 10)
        slot.refused("too_large")
        slot.close()
    other = Slot(tmp_path, "r2-w0", SlotLabels("shop", "mnist", "1.0.0", 2))
    other.answered(20_000_000_000, 1)
    other.close()
    assert value(tmp_path, "hyperion_requests_total") == 4
    assert value(tmp_path, "hyperion_sent_bytes_total") == 20
    for cause in ERROR_CAUSES:
        assert value(tmp_path, "hyperion_request_failures_total", cause=cause) == (2 if cause == "too_large" else 0)
    bucket = "hyperion_request_duration_seconds_bucket"
    assert value(tmp_path, bucket, le="0.0025") == 0
    assert value(tmp_path, bucket, le="0.005") == 2
    assert value(tmp_path, bucket, le="+Inf") == 2
    assert value(tmp_path, bucket, revision=2, le=repr(LATENCY_BOUNDS_S[-1])) == 0
    assert value(tmp_path, bucket, revision=2, le="+Inf") == 1
    assert value(tmp_path, "hyperion_request_duration_seconds_sum") == pytest.approx(0.006)


def test_labels_are_escaped(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "r1-w0", SlotLabels("shop", 'a"b\\c\nd', "1.0.0", 1))
    slot.close()
    assert value(tmp_path, "hyperion_requests_total", model='a"b\\c\nd') == 0


def test_buckets_hold_their_upper_bound(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "r1-w0", LABELS)
    for bound in LATENCY_BOUNDS_S:
        slot.answered(round(bound * 1e9), 0)
    slot.close()
    assert read_slots(tmp_path)[0].latency.counts == (1,) * len(LATENCY_BOUNDS_S) + (0,)


def test_counters_of_revisions_long_gone_are_forgotten(tmp_path: Path) -> None:
    for revision in (1, 2, 3):
        Slot(tmp_path, f"r{revision}-w0", SlotLabels("shop", "mnist", "1.0.0", revision)).close()
    (tmp_path / "notes.txt").write_text("kept")
    forget_slots(tmp_path, 3)
    assert [reading.labels.revision for reading in read_slots(tmp_path)] == [3]
    assert (tmp_path / "notes.txt").exists()
