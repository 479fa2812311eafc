"""Counters of workers: one fixed-layout file per worker slot, mapped into memory by the worker alone.

``metrics/<deployment>/r<revision>-w<index>.slot`` belongs to a slot and not to a process: a respawned worker goes
on counting in its predecessor's file, so counters never go back. Counting is one 8-byte store and no lock; whoever
reads (every worker for ``/metrics``, the supervisor for ``stats``) reads the files.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec

from hyperion.domain.latency_profile import BUCKETS as PROFILE_BUCKETS
from hyperion.domain.latency_profile import LatencyProfile, bucket_of
from hyperion.domain.metrics import BATCH_BOUNDS, ERROR_CAUSES, LATENCY_BOUNDS_S, Histogram

MAGIC = b"HYPSLOT1"
SIZE_BYTES = 4096
LABELS_OFFSET = 8
"""Length (4 bytes, little endian) and JSON of the labels."""
COUNTERS_OFFSET = 2048
SUFFIX = ".slot"

# Places of the counters, in words of 8 bytes from COUNTERS_OFFSET. Append only: old files are read.
ALIVE, INFLIGHT, STARTED_AT_MS, STARTS = 0, 1, 2, 3
REQUESTS, RECEIVED_BYTES, SENT_BYTES, LATENCY_NS = 8, 9, 10, 11
ENGINE_RUNS, ENGINE_NS = 12, 13
FAILURES = 32
BUCKETS = 64
BATCHED_REQUESTS = 95
BATCHES = 96
PROFILE = 104
FORWARDED, FALLBACKS = 240, 241

_BOUNDS_NS = tuple(round(bound * 1e9) for bound in LATENCY_BOUNDS_S)
_CAUSE_PLACES = {cause: FAILURES + place for place, cause in enumerate(ERROR_CAUSES)}


class SlotLabels(msgspec.Struct, frozen=True):
    """What the counters are about; the labels of the metrics."""

    deployment: str
    model: str
    version: str
    revision: int


class Slot:
    """A worker's own counters."""

    def __init__(self, folder: Path, worker: str, labels: SlotLabels) -> None:
        """Open the slot's file, or make it; a file that is not ours is made anew.

        Where its predecessor still counts (it finishes for a supervisor that died), a file beside it is used.
        """
        encoded = msgspec.json.encode(labels)
        self._descriptor = _open_unshared(folder, worker)
        if os.pread(self._descriptor, len(MAGIC), 0) != MAGIC or os.fstat(self._descriptor).st_size != SIZE_BYTES:
            os.ftruncate(self._descriptor, 0)
            os.ftruncate(self._descriptor, SIZE_BYTES)
        self._map = mmap.mmap(self._descriptor, SIZE_BYTES)
        self._map[LABELS_OFFSET : LABELS_OFFSET + 4 + len(encoded)] = len(encoded).to_bytes(4, "little") + encoded
        self._map[: len(MAGIC)] = MAGIC
        self._view = memoryview(self._map)
        self.counters = self._view[COUNTERS_OFFSET:].cast("Q")

    def begin(self, now_ms: int) -> None:
        """A worker starts to count here."""
        self.counters[STARTS] += 1
        self.counters[STARTED_AT_MS] = now_ms
        self.counters[INFLIGHT] = 0
        self.counters[ALIVE] = 1

    def end(self) -> None:
        """The worker counts no more; what it left in flight is read as nothing."""
        self.counters[ALIVE] = 0

    def answered(self, latency_ns: int, sent_bytes: int) -> None:
        """One inference request was answered, well or not."""
        counters = self.counters
        counters[REQUESTS] += 1
        counters[SENT_BYTES] += sent_bytes
        counters[LATENCY_NS] += latency_ns
        counters[BUCKETS + bisect_left(_BOUNDS_NS, latency_ns)] += 1
        counters[PROFILE + bucket_of(latency_ns)] += 1

    def failed(self, cause: str) -> None:
        """Its cause, one of ERROR_CAUSES."""
        self.counters[_CAUSE_PLACES[cause]] += 1

    def refused(self, cause: str) -> None:
        """A request was turned away unread; it counts, but has no latency."""
        self.counters[REQUESTS] += 1
        self.failed(cause)

    def ran(self, engine_ns: int) -> None:
        """The engine ran once."""
        self.counters[ENGINE_RUNS] += 1
        self.counters[ENGINE_NS] += engine_ns

    def batched(self, requests: int) -> None:
        """The engine ran once for so many requests, in a worker that batches."""
        self.counters[BATCHED_REQUESTS] += requests
        self.counters[BATCHES + bisect_left(BATCH_BOUNDS, requests)] += 1

    def close(self) -> None:
        self.counters.release()
        self._view.release()
        self._map.close()
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class SlotReading:
    """The counters of one slot at one moment."""

    worker: str
    labels: SlotLabels
    alive: bool
    inflight: int
    started_at_ms: int
    starts: int
    requests: int
    received_bytes: int
    sent_bytes: int
    engine_runs: int
    engine_ns: int
    failures: dict[str, int]
    """Causes that happened."""
    latency: Histogram
    profile: LatencyProfile = field(default_factory=LatencyProfile)
    """``latency`` in finer buckets, to compare revisions by."""
    batches: tuple[int, ...] = (0,) * (len(BATCH_BOUNDS) + 1)
    """Runs of a worker that batches, by BATCH_BOUNDS (not cumulative; the last is overflow)."""
    batched_requests: int = 0
    """Requests that these runs answered."""
    forwarded: int = 0
    """Requests that this worker had a candidate answer, or tried to."""
    fallbacks: int = 0
    """Of these, what the candidate did not answer, and this worker did."""


def read_slots(folder: Path, revision: int | None = None) -> tuple[SlotReading, ...]:
    """All slots of a deployment, or of a revision, sorted by name; what is no slot, or just being made, is left out."""
    whose = "*" if revision is None else f"r{revision}-*"
    readings = (_read_slot(path) for path in sorted(folder.glob(f"{whose}{SUFFIX}*")))
    return tuple(reading for reading in readings if reading is not None)


def read_counts(folder: Path, worker: str) -> tuple[bytes, ...]:
    """The raw counters of a worker's slot: equal as long as it counts nothing."""
    return tuple(path.read_bytes() for path in sorted(folder.glob(f"{worker}{SUFFIX}*")))


def retire_slot(folder: Path, worker: str) -> None:
    """Mark the slot of a worker that died without saying so; its counts stay."""
    for path in folder.glob(f"{worker}{SUFFIX}*"):
        # A worker that was taken over may write its folder, and we may be root: no link shall send us elsewhere.
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        with os.fdopen(descriptor, "r+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # another process counts here
            stream.seek(COUNTERS_OFFSET)
            stream.write(bytes(8 * (INFLIGHT + 1)))


def forget_slots(folder: Path, before_revision: int) -> None:
    """Remove the counters of revisions that are long gone, so that /metrics does not grow with every rollout."""
    for path in folder.glob(f"*{SUFFIX}*"):
        revision = path.name.removeprefix("r").partition("-")[0]
        if revision.isdecimal() and int(revision) < before_revision:
            path.unlink(missing_ok=True)


def _open_unshared(folder: Path, worker: str) -> int:
    """A locked descriptor of the first file of this slot that no process counts in."""
    for place in count():
        path = folder / f"{worker}{SUFFIX}{place or ''}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor
    raise AssertionError("count() has no end")


def _read_slot(path: Path) -> SlotReading | None:
    try:
        raw = path.read_bytes()
        if len(raw) != SIZE_BYTES or not raw.startswith(MAGIC):
            return None
        start = LABELS_OFFSET + 4
        length = int.from_bytes(raw[LABELS_OFFSET:start], "little")
        labels = msgspec.json.decode(raw[start : start + length], type=SlotLabels)
    except (OSError, msgspec.DecodeError):
        return None
    words = memoryview(raw)[COUNTERS_OFFSET:].cast("Q")
    counts = tuple(words[BUCKETS : BUCKETS + len(_BOUNDS_NS) + 1])
    return SlotReading(
        worker=path.name.partition(SUFFIX)[0],
        labels=labels,
        alive=words[ALIVE] == 1,
        inflight=words[INFLIGHT] if words[ALIVE] else 0,
        started_at_ms=words[STARTED_AT_MS],
        starts=words[STARTS],
        requests=words[REQUESTS],
        received_bytes=words[RECEIVED_BYTES],
        sent_bytes=words[SENT_BYTES],
        engine_runs=words[ENGINE_RUNS],
        engine_ns=words[ENGINE_NS],
        failures={cause: words[place] for cause, place in _CAUSE_PLACES.items() if words[place]},
        latency=Histogram(counts=counts, sum_s=words[LATENCY_NS] / 1e9),
        profile=LatencyProfile(tuple(words[PROFILE : PROFILE + PROFILE_BUCKETS])),
        batches=tuple(words[BATCHES : BATCHES + len(BATCH_BOUNDS) + 1]),
        batched_requests=words[BATCHED_REQUESTS],
        forwarded=words[FORWARDED],
        fallbacks=words[FALLBACKS],
    )
