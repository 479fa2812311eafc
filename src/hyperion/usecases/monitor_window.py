"""Windows: two snapshots of a deployment's counters, and what passed between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hyperion.domain.command import Stats, StatsReply
from hyperion.domain.deployment import Revision, match_digest
from hyperion.domain.digest import short
from hyperion.domain.metrics import Histogram, ServingFigures
from hyperion.errors import NotFoundError
from hyperion.ports import Host, ProcessUsage, Reporter
from hyperion.usecases.ask import expect_reply

FIRST_COUNT_S = 1.0
"""How long hardware counters run for the first round, which does not wait for a whole interval."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a deployment did between two snapshots.

    Attributes:
        now: The later snapshot.
        earlier: The one before; None in the first round and after another revision became active.
        length_s: Seconds between them; without an earlier one, since the revision was made.
        usage: What each living worker's process took so far, by process id; None where it is gone.
        usage_before: The same at the earlier snapshot; empty without one.
        counters: Hardware counters of the workers over ``counters_s``; all None where there are none.
        counters_unavailable: Why, or None.
        counters_s: How long they ran.
    """

    now: ServingFigures
    earlier: ServingFigures | None
    length_s: float
    usage: Mapping[int, ProcessUsage | None]
    usage_before: Mapping[int, ProcessUsage | None] = field(default_factory=dict)
    counters: Mapping[str, int | None] = field(default_factory=dict)
    counters_unavailable: str | None = None
    counters_s: float = 0.0

    @property
    def requests(self) -> int:
        return self._since("requests")

    @property
    def received_bytes(self) -> int:
        return self._since("received_bytes")

    @property
    def sent_bytes(self) -> int:
        return self._since("sent_bytes")

    @property
    def latency(self) -> Histogram:
        return self.now.latency if self.earlier is None else self.now.latency.minus(self.earlier.latency)

    @property
    def failures(self) -> dict[str, int]:
        """Failed requests by cause; causes that did not happen are left out."""
        before = {} if self.earlier is None else self.earlier.failures
        counts = {cause: _grown(count, before.get(cause, 0)) for cause, count in self.now.failures.items()}
        return {cause: count for cause, count in counts.items() if count}

    def taken(self, quantity: str) -> float | None:
        """What the living workers took of a growing quantity of ports.ProcessUsage in this window; None if unknown."""
        total = 0.0
        for pid, usage in self.usage.items():
            value = None if usage is None else getattr(usage, quantity)
            if value is None:
                return None
            before = self.usage_before.get(pid)
            total += value - (0 if before is None else getattr(before, quantity) or 0)
        return total if self.usage else None

    def _since(self, counter: str) -> int:
        before = 0 if self.earlier is None else getattr(self.earlier, counter)
        return _grown(getattr(self.now, counter), before)


def served_revision(host: Host, path: Path, name: str | None, reporter: Reporter) -> Revision:
    """The active revision of the deployment that serves the package at ``path``, or served it before.

    A monitor follows its deployment over rollouts; so one that is started after a rollback, with the package that was
    rolled back, watches the same deployment as one that was running already. Where the package given is not the one
    that is active now, ``reporter`` is warned of it.

    Raises:
        NotFoundError: There is no package, or no active deployment ever served it.
        ConflictError: Several deployments serve it and ``name`` is None.
    """
    with host.packages.open(path) as package:
        digest = package.digest
    active = {
        deployment.name: host.ledger.revision(deployment.name, deployment.active_revision)
        for deployment in host.ledger.deployments()
        if deployment.active_revision is not None
    }
    try:
        return match_digest(active.values(), digest, name)
    except NotFoundError as not_active:
        served = [found for each in active for found in host.ledger.revisions(each) if found.digest == digest]
        try:
            revision = active[match_digest(served, digest, name).deployment]
        except NotFoundError:
            raise not_active from None
    reporter.warn(
        f"{path} ({short(digest)}) is not what {revision.deployment!r} serves now: all that follows is of "
        f"revision {revision.number}, {revision.model} {revision.version} ({short(revision.digest)})"
    )
    return revision


def windows(
    host: Host, revision: Revision, interval_s: float, count: int | None, *, counters: bool = False
) -> Iterator[Window]:
    """Windows of the deployment of ``revision``, one every ``interval_s`` seconds, ``count`` in all (None: endless).

    Raises:
        HostError: No supervisor runs, or it went away.
        NotFoundError: The deployment was stopped.
    """
    earlier: Window | None = None
    done = 0
    while count is None or done < count:
        counted = _wait(host, revision.deployment, earlier, interval_s, counters=counters)
        earlier = _look(host, revision.deployment, earlier, counted)
        yield earlier
        done += 1


@dataclass(frozen=True, slots=True)
class _Counted:
    counters: Mapping[str, int | None]
    unavailable: str | None
    duration_s: float


def _wait(host: Host, deployment: str, earlier: Window | None, interval_s: float, *, counters: bool) -> _Counted:
    """Let the interval pass, counting meanwhile; the first round only counts, for a short time."""
    started = host.clock.monotonic()
    counted = _Counted({}, None, 0.0)
    if counters:
        pids = [worker.pid for worker in (earlier.now if earlier else _snapshot(host, deployment)).workers]
        duration_s = interval_s if earlier else min(FIRST_COUNT_S, interval_s)
        values, reason = host.facts.hardware_counters(pids, duration_s)
        counted = _Counted(values, reason, duration_s)
    if earlier is not None:
        host.clock.sleep(interval_s - (host.clock.monotonic() - started))
    return counted


def _look(host: Host, deployment: str, before: Window | None, counted: _Counted) -> Window:
    now = _snapshot(host, deployment)
    same = before is not None and before.now.revision == now.revision
    earlier = before.now if before is not None and same else None
    made_at = host.ledger.revision(deployment, now.revision).created_at
    return Window(
        now=now,
        earlier=earlier,
        length_s=max(0.0, (now.at - (made_at if earlier is None else earlier.at)).total_seconds()),
        usage={worker.pid: host.facts.process(worker.pid) for worker in now.workers},
        usage_before=before.usage if before is not None and same else {},
        counters=counted.counters,
        counters_unavailable=counted.unavailable,
        counters_s=counted.duration_s,
    )


def _snapshot(host: Host, deployment: str) -> ServingFigures:
    return expect_reply(host.control.ask(Stats(name=deployment)), StatsReply).figures


def _grown(now: int, before: int) -> int:
    """What a counter grew by; one that went backwards began anew."""
    return now - before if now >= before else now
