"""The living workers of one deployment: started, told, heard, and held to their deadlines.

It knows no rules: what it sees goes to ``observe``, and what is to be done comes from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

from hyperion.domain import observation as seen
from hyperion.domain.confinement import Protection
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.rollout_policy import patience_s
from hyperion.domain.worker_state import Worker, WorkerState
from hyperion.errors import HyperionError
from hyperion.ports import WorkerProcess
from hyperion.serving.adoption import Survivor
from hyperion.serving.channel import (
    Accepting,
    AcceptTraffic,
    CannotServe,
    Drained,
    FramesOpen,
    Gated,
    LameDucked,
    LeaveTraffic,
    Loaded,
    OpenFrames,
    Replay,
    Replayed,
    Rest,
    Rested,
    Route,
    Routed,
    ToSupervisor,
)
from hyperion.serving.heartbeat import Patience
from hyperion.serving.judgement import judge
from hyperion.serving.start_order import socket_path, start_order
from hyperion.serving.surroundings import Surroundings
from hyperion.serving.telemetry import read_counts, read_slots, retire_slot
from hyperion.serving.unloading import Unloading
from hyperion.serving.watch import MemoryReading
from hyperion.serving.wire import Wire
from hyperion.serving.wording import count
from hyperion.serving.worker_link import WorkerLink

ACKNOWLEDGE_S = 10.0
"""How long a proven worker may take to do as it is told."""
FLIP_S = 2.0
"""How long a warm worker may take to come back; past it, a rollback goes on without it."""
MIB = 1024**2
LEAVE_S = 3.0
"""How long a candidate that only answers frames may take to say that it leaves; one that hangs says nothing."""
IDLE_S = 2.0
"""How long a connection at rest is waited for where nobody takes over: its client's next request would be refused."""
EXIT_S = 5.0
"""How long a worker may take to exit after its drain deadline, or once it says that it is drained."""


class WorkerSet:
    """The workers of a deployment.

    Args:
        deployment: Its name.
        surroundings: Ports.
        observe: Told everything that happens to a worker, but what ``on_accepting`` and ``on_gone`` are told.
        say: Told stage and progress, in words for people.
        on_accepting: Told of a worker that takes traffic from now on.
        on_gone: Told of a worker whose process has ended, and why.
        on_replayed: Told of a worker how its golden requests went.
        on_confined: Told of a worker what holds it back.
    """

    def __init__(
        self,
        deployment: str,
        surroundings: Surroundings,
        *,
        observe: Callable[[seen.Observation], None],
        say: Callable[[str, str], None],
        on_accepting: Callable[[WorkerLink], None],
        on_gone: Callable[[WorkerLink, str], None],
        on_replayed: Callable[[str, list[dict[str, Any]]], None],
        on_confined: Callable[[WorkerLink, tuple[Protection, ...]], None],
    ) -> None:
        self.metrics_dir: Path = surroundings.metrics_dir / deployment
        self._deployment = deployment
        self._around = surroundings
        self._observe = observe
        self._say = say
        self._on_accepting = on_accepting
        self._on_gone = on_gone
        self._on_replayed = on_replayed
        self._on_confined = on_confined
        self.unloading = Unloading(surroundings.facts)
        self._links: dict[str, WorkerLink] = {}
        self._serves: dict[str, Revision] = {}
        self._proofs: dict[str, tuple[Finding, ...]] = {}
        self._warm_bytes: dict[int, int] = {}
        self._notes: dict[str, str | None] = {}
        self._protections: dict[str, tuple[Protection, ...]] = {}

    def find(self, name: str) -> WorkerLink | None:
        """The worker's link while its process lives."""
        return self._links.get(name)

    @property
    def proof(self) -> tuple[Finding, ...]:
        """What the workers of the rollout showed: the proof that failed, else the first one."""
        failed = (found for found in self._proofs.values() if any(f.outcome is Outcome.FAILED for f in found))
        return next(failed, None) or next(iter(self._proofs.values()), ())

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator may want to know of the living workers, each thing once."""
        return tuple(dict.fromkeys(note for note in self._notes.values() if note is not None))

    def protections(self, revision: int | None) -> tuple[Protection, ...]:
        """What holds the workers of the revision back, each thing once."""
        names = (name for name, link in self._links.items() if link.worker.revision == revision)
        return tuple(dict.fromkeys(found for name in names for found in self._protections.get(name, ())))

    def memory(self, revision: int) -> dict[str, MemoryReading]:
        """Of each living worker of the revision, by a name that no other process gets."""
        links = [link for link in self._links.values() if link.worker.revision == revision]
        return {
            f"{link.name}/{link.process.pid}": MemoryReading(
                self._warm_bytes.get(link.process.pid), link.resident_bytes
            )
            for link in links
        }

    def forget_proofs(self) -> None:
        """Begin a rollout: what earlier workers showed says nothing about it."""
        self._proofs.clear()

    # --- telling ---

    def renew_guards(self) -> None:
        """Tell each worker whom to let in, where that is not what it was told last."""
        for link in self._links.values():
            try:
                guard = self._around.guards.of(self._serves[link.name])
            except HyperionError:
                continue  # one that was adopted goes on with what it has; Guards.faults says why
            if link.guard != guard:
                link.guard = guard
                link.send(guard)

    def spawn(self, worker: Worker, revision: Revision, listener: socket) -> None:
        """Start a worker and give it its order; it must be proven within ``startup_timeout_s``."""
        try:
            guard = self._around.guards.of(revision)
            self.metrics_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            process = self._around.launcher.launch(self._deployment, worker.revision, listener)
        except (HyperionError, OSError) as error:
            reason = f"worker {worker.name} could not be started: {error}"
            asyncio.get_running_loop().call_soon(self._observe, seen.Exited(worker.name, reason))
            return
        link = self._link(worker, revision, process)
        link.guard = guard
        if limit_mb := revision.config.memory.limit_mb:
            self._protections[worker.name] = (process.limit_memory(limit_mb * MIB),)
        link.send(start_order(self._around, self.metrics_dir, worker, revision, guard, process.pid))
        seconds = revision.config.startup_timeout_s
        link.expect(seconds, lambda: self._late(link, f"was not ready within startup_timeout_s ({seconds:g} s)"))

    def adopt(self, survivor: Survivor, revision: Revision) -> None:
        """Take over a worker that another supervisor started; it goes on as it is, or ends as that one wanted."""
        worker = survivor.worker
        slot = next((slot for slot in read_slots(self.metrics_dir) if slot.worker == worker.name), None)
        started_at = None if slot is None else datetime.fromtimestamp(slot.started_at_ms / 1000, UTC)
        link = self._link(worker, revision, survivor.process, started_at, survivor.wire)
        self._protections[link.name] = _protections_of(survivor.who.protections)
        link.accepting_since = self._around.clock.monotonic()
        if worker.leaves:
            link.expect(revision.config.drain_timeout_s + EXIT_S, link.process.kill)

    def _link(
        self,
        worker: Worker,
        revision: Revision,
        process: WorkerProcess,
        started_at: datetime | None = None,
        wire: Wire | None = None,
    ) -> WorkerLink:
        patience = Patience(revision.config.limits.request_timeout_s, partial(read_counts, self.metrics_dir))
        since = started_at or self._around.clock.now()
        link = WorkerLink(worker, process, since, patience, self._heard, self._gone, wire=wire)
        self._links[worker.name] = link
        self._serves[worker.name] = revision
        return link

    def accept(self, name: str) -> None:
        """Let a proven worker take traffic."""
        link = self._links[name]
        self._say("shift", f"worker {name} takes traffic")
        link.send(AcceptTraffic())
        link.expect(ACKNOWLEDGE_S, lambda: self._late(link, f"did not accept within {ACKNOWLEDGE_S:g} s"))

    def flip(self, name: str, worker: Worker, revision: Revision) -> None:
        """Let a warm worker take traffic as another one: of the revision that is like its own."""
        link = self._links.pop(name)
        self._say("shift", f"worker {name}, kept warm, takes traffic as {worker.name}")
        link.worker = worker
        self._links[worker.name] = link
        self._serves[worker.name] = revision
        self._serves.pop(name)
        self._notes[worker.name] = self._notes.pop(name, None)
        self._protections[worker.name] = self._protections.pop(name, ())
        link.send(AcceptTraffic(worker.revision, worker.name))
        link.expect(FLIP_S, lambda: self._late(link, f"did not come back within {FLIP_S:g} s"))

    def open_frames(self, name: str) -> None:
        """Let a candidate answer what is forwarded to it."""
        link = self._links[name]
        link.send(OpenFrames())
        link.expect(ACKNOWLEDGE_S, lambda: self._late(link, f"opened no frames within {ACKNOWLEDGE_S:g} s"))

    def route(self, name: str, revision: int, share: float, candidates: Iterable[str], sticky: str | None) -> None:
        """Have a worker forward this share of its requests to the candidates."""
        links = [found for candidate in candidates if (found := self._links.get(candidate)) is not None]
        paths = [socket_path(self._around, link.process.pid, "frames") for link in links]
        link = self._links[name]
        link.send(Route(revision, share, paths, sticky))
        if share:
            link.expect(ACKNOWLEDGE_S, lambda: self._late(link, f"routed nothing within {ACKNOWLEDGE_S:g} s"))

    def lame_duck(self, name: str, heirs: Iterable[str], *, frames_only: bool = False, is_last: bool = False) -> None:
        """Let a worker finish what it has, and end it where it has not by its drain deadline.

        Its live connections go to the ``heirs`` where they can; where it ``is_last``, nobody serves their clients any
        more, and those at rest are waited for no longer than a moment. One that had ``frames_only`` is ended soon
        where it does not even say that it leaves, and is given no longer than its answers are waited for: what it does
        not answer, the worker that forwarded it does.
        """
        link, config = self._links[name], self._serves[name].config
        self._say("drain", f"worker {name} finishes what it has")
        link.drains_s = config.drain_timeout_s
        if frames_only:
            link.drains_s = min(link.drains_s, patience_s(config.limits.request_timeout_s))
        link.send(LeaveTraffic(link.drains_s, self._handover_paths(heirs), IDLE_S if is_last else None))
        link.expect(LEAVE_S if frames_only else link.drains_s + EXIT_S, link.process.kill)

    def rest(self, name: str, heirs: Iterable[str]) -> None:
        """As ``lame_duck``, but the worker stays loaded."""
        link = self._links[name]
        self._say("drain", f"worker {name} finishes what it has and stays loaded")
        deadline_s = self._serves[name].config.drain_timeout_s
        link.send(Rest(deadline_s, self._handover_paths(heirs)))
        link.accepting_since = None
        link.expect(deadline_s + EXIT_S, link.process.kill)

    def replay(self, revision: int) -> None:
        """Have the revision's workers run the golden requests again."""
        for link in self._links.values():
            if link.worker.revision == revision:
                link.send(Replay())

    def kill(self, name: str) -> None:
        """End a worker at once, where it still lives."""
        if link := self._links.get(name):
            self.unloading.ends(link.worker.revision, link.process.pid)
            link.process.kill()

    def _handover_paths(self, names: Iterable[str]) -> list[str]:
        """Where these workers are given connections."""
        links = (self._links.get(name) for name in names)
        return [socket_path(self._around, link.process.pid, "handover") for link in links if link is not None]

    # --- hearing ---

    def _heard(self, link: WorkerLink, report: ToSupervisor) -> None:
        match report:
            case Loaded():
                self._loaded(link, report)
                self._observe(seen.Reached(link.name, WorkerState.LOADED))
            case Gated():
                self._judge(link, report)
            case Accepting():
                link.expect_nothing()
                link.accepting_since = self._around.clock.monotonic()
                self._on_accepting(link)
            case FramesOpen():
                link.expect_nothing()
                self._observe(seen.Reached(link.name, WorkerState.CANARY))
            case Routed(revision, share):
                if share:
                    link.expect_nothing()
                self._observe(seen.Routed(link.name, revision, share))
            case LameDucked() | Drained():
                self._leaves(link, report)
            case Rested():
                link.expect_nothing()
                self._observe(seen.Reached(link.name, WorkerState.WARM))
            case Replayed(findings):
                self._on_replayed(link.name, findings)
            case CannotServe(reason):
                self._observe(seen.Failed(link.name, f"worker {link.name}: {reason}"))

    def _leaves(self, link: WorkerLink, report: LameDucked | Drained) -> None:
        if isinstance(report, Drained):
            link.expect(EXIT_S, link.process.kill)
            self.unloading.ends(link.worker.revision, link.process.pid)
            self._observe(seen.Reached(link.name, WorkerState.DRAINED))
            return
        if link.drains_s is not None:
            link.expect(link.drains_s + EXIT_S, link.process.kill)
        self._observe(seen.Reached(link.name, WorkerState.LAME_DUCK))
        if link.drains_s is not None:
            self.unloading.leaves(link.process.pid)

    def _loaded(self, link: WorkerLink, report: Loaded) -> None:
        source = "its host image" if report.image else "the package"
        self._say("prove", f"worker {link.name} loaded {source} in {report.load_ms:.0f} ms")
        if report.image_fault is not None:
            self._say("prove", f"worker {link.name} uses no host image: {report.image_fault}")
        self._notes[link.name] = report.image_fault

    def _judge(self, link: WorkerLink, report: Gated) -> None:
        """Hold a worker's proof and its memory against what its revision allows."""
        link.expect_nothing()
        usage = self._around.facts.process(link.process.pid, proportional=False)
        self._protections[link.name] = (
            *_protections_of(report.protections), *self._protections.get(link.name, ())
        )  # fmt: skip
        self._on_confined(link, self._protections[link.name])
        findings, denial = judge(report.findings, usage, self._serves[link.name])
        self._proofs[link.name] = findings
        if usage is not None:
            self._warm_bytes[link.process.pid] = usage.resident_bytes
        if denial is None:
            self._say("prove", f"worker {link.name} is proven: {count(len(findings), 'check')}")
            if report.max_batch > 1:
                rows = count(report.max_batch, "row")
                self._say("prove", f"worker {link.name} answers up to {rows} at once: {report.batching}")
            self._observe(seen.Reached(link.name, WorkerState.GATED))
        else:
            self._observe(seen.Failed(link.name, f"worker {link.name} failed its proof: {denial}"))

    def _late(self, link: WorkerLink, what: str) -> None:
        self._observe(seen.Failed(link.name, f"worker {link.name} {what}"))

    def _gone(self, link: WorkerLink, reason: str) -> None:
        self._links.pop(link.name, None)
        self._serves.pop(link.name, None)
        self._notes.pop(link.name, None)
        self._protections.pop(link.name, None)
        self._warm_bytes.pop(link.process.pid, None)
        retire_slot(self.metrics_dir, link.name)
        self.unloading.ended(link.process.pid)
        self._on_gone(link, reason)


def _protections_of(found: Iterable[dict[str, Any]]) -> tuple[Protection, ...]:
    return tuple(Protection.model_validate(item) for item in found)
