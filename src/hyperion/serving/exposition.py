"""The counters of a deployment as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hyperion.domain.metrics import BATCH_BOUNDS, ERROR_CAUSES, LATENCY_BOUNDS_S, Histogram
from hyperion.serving.telemetry import SlotLabels, SlotReading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Group = tuple[str, Sequence[SlotReading]]
"""Labels as text, without braces, and the slots that have them."""


def render_metrics(slots: Iterable[SlotReading]) -> str:
    """All metrics, summed over the workers of each revision; labels: deployment, model, version, revision."""
    groups = _grouped(slots)
    lines: list[str] = []
    _counter(lines, groups, "hyperion_requests_total", "Inference requests answered.", lambda s: s.requests)
    _failures(lines, groups)
    _latency(lines, groups)
    name = "hyperion_engine_duration_seconds"
    _family(lines, name, "summary", "Time in the inference engine.")
    for labels, members in groups:
        lines.append(f"{name}_sum{{{labels}}} {sum(slot.engine_ns for slot in members) / 1e9!r}")
        lines.append(f"{name}_count{{{labels}}} {sum(slot.engine_runs for slot in members)}")
    _batches(lines, groups)
    received, sent = "Bytes received from clients.", "Bytes of answers to inference requests."
    _counter(lines, groups, "hyperion_received_bytes_total", received, lambda s: s.received_bytes)
    _counter(lines, groups, "hyperion_sent_bytes_total", sent, lambda s: s.sent_bytes)
    forwarded = "Inference requests that a candidate was to answer, by the revision that read them."
    fallbacks = "Of the forwarded requests, those that the candidate did not answer and the stable revision did."
    _counter(lines, groups, "hyperion_forwarded_requests_total", forwarded, lambda s: s.forwarded)
    _counter(lines, groups, "hyperion_forward_fallbacks_total", fallbacks, lambda s: s.fallbacks)
    _counter(lines, groups, "hyperion_worker_starts_total", "Worker processes started.", lambda s: s.starts)
    _gauge(lines, groups, "hyperion_requests_in_flight", "Requests in work.", lambda s: s.inflight)
    _gauge(lines, groups, "hyperion_workers", "Worker processes alive.", lambda s: int(s.alive))
    return "\n".join(lines) + "\n"


def escape_label(value: str) -> str:
    """A label's value as the format wants it between quotes."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _grouped(slots: Iterable[SlotReading]) -> list[Group]:
    members: dict[SlotLabels, list[SlotReading]] = {}
    for slot in slots:
        members.setdefault(slot.labels, []).append(slot)
    ordered = sorted(members.items(), key=lambda item: (item[0].deployment, item[0].revision))
    return [(_label_text(labels), found) for labels, found in ordered]


def _label_text(labels: SlotLabels) -> str:
    named = (
        ("deployment", labels.deployment),
        ("model", labels.model),
        ("version", labels.version),
        ("revision", str(labels.revision)),
    )
    return ",".join(f'{name}="{escape_label(value)}"' for name, value in named)


def _family(lines: list[str], name: str, kind: str, text: str) -> None:
    lines.append(f"# HELP {name} {text}")
    lines.append(f"# TYPE {name} {kind}")


def _counter(lines: list[str], groups: list[Group], name: str, text: str, value: Callable[[SlotReading], int]) -> None:
    _family(lines, name, "counter", text)
    lines += [f"{name}{{{labels}}} {sum(map(value, members))}" for labels, members in groups]


def _gauge(lines: list[str], groups: list[Group], name: str, text: str, value: Callable[[SlotReading], int]) -> None:
    _family(lines, name, "gauge", text)
    lines += [f"{name}{{{labels}}} {sum(map(value, members))}" for labels, members in groups]


def _failures(lines: list[str], groups: list[Group]) -> None:
    name = "hyperion_request_failures_total"
    _family(lines, name, "counter", "Inference requests that failed, by cause.")
    for labels, members in groups:
        counts = {cause: sum(slot.failures.get(cause, 0) for slot in members) for cause in ERROR_CAUSES}
        lines += [f'{name}{{{labels},cause="{cause}"}} {count}' for cause, count in counts.items()]


def _latency(lines: list[str], groups: list[Group]) -> None:
    name = "hyperion_request_duration_seconds"
    _family(lines, name, "histogram", "From complete request to answer, in the worker.")
    for labels, members in groups:
        total = Histogram()
        for slot in members:
            total = total.plus(slot.latency)
        running = 0
        for bound, count in zip((*map(repr, LATENCY_BOUNDS_S), "+Inf"), total.counts, strict=True):
            running += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {running}')
        lines.append(f"{name}_sum{{{labels}}} {total.sum_s!r}")
        lines.append(f"{name}_count{{{labels}}} {running}")


def _batches(lines: list[str], groups: list[Group]) -> None:
    """All zeros where no worker batches."""
    name = "hyperion_batch_size"
    _family(lines, name, "histogram", "Requests that one run of the engine answered, in workers that batch.")
    for labels, members in groups:
        totals = [sum(counts) for counts in zip(*(slot.batches for slot in members), strict=True)]
        running = 0
        for bound, count in zip((*map(str, BATCH_BOUNDS), "+Inf"), totals, strict=True):
            running += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {running}')
        lines.append(f"{name}_sum{{{labels}}} {sum(slot.batched_requests for slot in members)}")
        lines.append(f"{name}_count{{{labels}}} {running}")
