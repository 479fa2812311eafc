"""The figures of one window, named as docs/reference/metrics.md says; what cannot be had is null with its reason."""

from __future__ import annotations

from hyperion.domain.document import Document, JsonValue
from hyperion.domain.manifest import WEIGHTS_FOLDER
from hyperion.errors import HyperionError
from hyperion.ports import Host
from hyperion.usecases.monitor_window import Window

NO_REQUESTS = "no requests in the window"
NO_WORKERS = "no worker lives, or the kernel does not say"
QUANTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))


class Figures(Document):
    """Figures by name, and for each that is null why."""

    figures: dict[str, JsonValue]
    unavailable: dict[str, str]


def model_figures(host: Host, window: Window) -> Figures:
    """What ``monitor model`` shows: how quick, how much, how often wrong, and what it takes."""
    collected = _Collected()
    _add_traffic(collected, window)
    _add_cpu(collected, host, window)
    _add_memory(collected, window)
    collected.add("received_bytes", window.received_bytes)
    collected.add("sent_bytes", window.sent_bytes)
    return collected.done()


def performance_figures(host: Host, window: Window) -> Figures:
    """What ``monitor performance`` shows: latency, throughput, CPU and caches."""
    collected = _Collected()
    _add_traffic(collected, window)
    _add_cpu(collected, host, window)
    references, misses = window.counters.get("cache_references"), window.counters.get("cache_misses")
    ratio = None if not references or misses is None else 1 - misses / references
    collected.add("cache_hit_ratio", ratio, window.counters_unavailable or "the cache was not asked in the window")
    _add_page_cache(collected, host, window)
    return collected.done()


def resource_figures(host: Host, window: Window) -> Figures:
    """What ``monitor resources`` shows: memory, disk, network, cycles."""
    collected = _Collected()
    _add_memory(collected, window)
    _add_disk(collected, host, window)
    collected.add("network_received_bytes", window.received_bytes)
    collected.add("network_sent_bytes", window.sent_bytes)
    reason = "the window has no length"
    length = window.length_s
    collected.add("network_received_bytes_per_s", window.received_bytes / length if length else None, reason)
    collected.add("network_sent_bytes_per_s", window.sent_bytes / length if length else None, reason)
    _add_cpu(collected, host, window)
    collected.add("cpu_cycles", window.counters.get("cycles"), window.counters_unavailable)
    collected.add("cpu_instructions", window.counters.get("instructions"), window.counters_unavailable)
    counted = window.counters_s if window.counters_unavailable is None else None
    collected.add("cpu_cycles_window_s", counted, window.counters_unavailable)
    return collected.done()


class _Collected:
    def __init__(self) -> None:
        self._figures: dict[str, JsonValue] = {}
        self._unavailable: dict[str, str] = {}

    def add(self, name: str, value: JsonValue, reason: str | None = None) -> None:
        self._figures[name] = value
        if value is None:
            self._unavailable[name] = reason or "not measured"

    def done(self) -> Figures:
        return Figures(figures=self._figures, unavailable=self._unavailable)


def _add_traffic(collected: _Collected, window: Window) -> None:
    latency, requests = window.latency, window.requests
    for name, q in QUANTILES:
        collected.add(f"latency_{name}_ms", latency.quantile_ms(q), NO_REQUESTS)
    mean = 1000 * latency.sum_s / latency.total if latency.total else None
    collected.add("latency_mean_ms", mean, NO_REQUESTS)
    collected.add("requests", requests)
    per_second = requests / window.length_s if window.length_s else None
    collected.add("requests_per_s", per_second, "the window has no length")
    failures = window.failures
    collected.add("failures", {**failures})
    collected.add("error_ratio", sum(failures.values()) / requests if requests else None, NO_REQUESTS)
    collected.add("workers", len(window.now.workers))
    collected.add("inflight", sum(worker.inflight for worker in window.now.workers))


def _add_cpu(collected: _Collected, host: Host, window: Window) -> None:
    """CPU of the living workers; in the first round over their own lives, which may be shorter than the window."""
    cpu_s = window.taken("cpu_s")
    collected.add("cpu_s", cpu_s, NO_WORKERS)
    length = window.length_s
    if window.earlier is None and window.now.workers:
        oldest = min(worker.started_at for worker in window.now.workers)
        length = max(0.0, (window.now.at - oldest).total_seconds())
    cores = host.facts.platform().cores
    known = cpu_s is not None and length > 0 and cores is not None
    share = cpu_s / length / cores if known and cpu_s is not None and cores is not None else None
    collected.add("cpu_utilisation", share, NO_WORKERS)


def _add_memory(collected: _Collected, window: Window) -> None:
    resident = [usage.resident_bytes for usage in window.usage.values() if usage is not None]
    collected.add("memory_resident_bytes", sum(resident) if resident else None, NO_WORKERS)
    shared = [usage.proportional_bytes if usage is not None else None for usage in window.usage.values()]
    known = [size for size in shared if size is not None]
    proportional = sum(known) if known and len(known) == len(shared) else None
    collected.add("memory_proportional_bytes", proportional, "the kernel does not say (smaps_rollup)")


def _add_disk(collected: _Collected, host: Host, window: Window) -> None:
    for name, quantity in (("disk_read_bytes", "read_bytes"), ("disk_written_bytes", "written_bytes")):
        taken = window.taken(quantity)
        collected.add(name, None if taken is None else int(taken), "the kernel does not say (/proc/PID/io)")
    try:
        with host.store.open(window.now.digest) as package:
            paths = {package.locate(name).path for name in package.names()}
            collected.add("disk_bytes", sum(host.facts.disk_usage(path) for path in paths))
    except (HyperionError, OSError) as error:
        collected.add("disk_bytes", None, str(error))


def _add_page_cache(collected: _Collected, host: Host, window: Window) -> None:
    """How much of the weights lies in the page cache: what is not there costs storage reads."""
    name = "page_cache_resident_ratio"
    try:
        with host.store.open(window.now.digest) as package:
            entries = [entry for entry in package.names() if entry.startswith(WEIGHTS_FOLDER)]
            paths = sorted({package.locate(entry).path for entry in entries})
    except HyperionError as error:
        collected.add(name, None, error.message)
        return
    ratio = host.facts.page_cache_resident_ratio(paths) if paths else None
    collected.add(name, ratio, "the kernel does not say (mincore)" if paths else "the package has no weights")
