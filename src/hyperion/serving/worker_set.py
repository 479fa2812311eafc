"""The living workers of one deployment: started, told, heard, and held to their deadlines.

It knows no rules: what it sees goes to ``observe``, and what is to be done comes from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from socket import socket

from hyperion.domain import observation as seen
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.worker_state import Worker, WorkerState
from hyperion.errors import HyperionError
from hyperion.format.side_by_side import available_cores
from hyperion.serving.channel import (
    CHANNEL_VERSION,
    Accepting,
    AcceptTraffic,
    CannotServe,
    Drained,
    Gated,
    LameDucked,
    LeaveTraffic,
    Loaded,
    Start,
    ToSupervisor,
    WorkerLimits,
)
from hyperion.serving.host_knowledge import images_of, tuning_of
from hyperion.serving.judgement import judge
from hyperion.serving.surroundings import Surroundings
from hyperion.serving.telemetry import retire_slot
from hyperion.serving.wording import count
from hyperion.serving.worker_link import WorkerLink

ACKNOWLEDGE_S = 10.0
"""How long a proven worker may take to accept."""
EXIT_S = 5.0
"""How long a worker may take to exit after its drain deadline."""


class WorkerSet:
    """The workers of a deployment.

    Args:
        deployment: Its name.
        surroundings: Ports.
        observe: Told everything that happens to a worker, but what ``on_accepting`` and ``on_gone`` are told.
        say: Told stage and progress, in words for people.
        on_accepting: Told of a worker that takes traffic from now on.
        on_gone: Told of a worker whose process has ended, and why.
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
    ) -> None:
        self.metrics_dir: Path = surroundings.metrics_dir / deployment
        self._deployment = deployment
        self._around = surroundings
        self._observe = observe
        self._say = say
        self._on_accepting = on_accepting
        self._on_gone = on_gone
        self._links: dict[str, WorkerLink] = {}
        self._serves: dict[str, Revision] = {}
        self._proofs: dict[str, tuple[Finding, ...]] = {}
        self._notes: dict[str, str | None] = {}

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

    def forget_proofs(self) -> None:
        """Begin a rollout: what earlier workers showed says nothing about it."""
        self._proofs.clear()

    # --- telling ---

    def spawn(self, worker: Worker, revision: Revision, listener: socket) -> None:
        """Start a worker and give it its order; it must be proven within ``startup_timeout_s``."""
        try:
            self.metrics_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            process = self._around.launcher.launch(self._deployment, worker.revision, listener)
        except (HyperionError, OSError) as error:
            reason = f"worker {worker.name} could not be started: {error}"
            asyncio.get_running_loop().call_soon(self._observe, seen.Exited(worker.name, reason))
            return
        link = WorkerLink(worker, process, self._around.clock.now(), self._heard, self._gone)
        self._links[worker.name] = link
        self._serves[worker.name] = revision
        link.send(self._start_order(worker, revision))
        seconds = revision.config.startup_timeout_s
        link.expect(seconds, lambda: self._late(link, f"was not ready within startup_timeout_s ({seconds:g} s)"))

    def accept(self, name: str) -> None:
        """Let a proven worker take traffic."""
        link = self._links[name]
        self._say("shift", f"worker {name} takes traffic")
        link.send(AcceptTraffic())
        link.expect(ACKNOWLEDGE_S, lambda: self._late(link, f"did not accept within {ACKNOWLEDGE_S:g} s"))

    def lame_duck(self, name: str) -> None:
        """Let a worker finish what it has, and end it where it has not by its drain deadline."""
        link = self._links[name]
        self._say("drain", f"worker {name} finishes what it has")
        deadline_s = self._serves[name].config.drain_timeout_s
        link.send(LeaveTraffic(deadline_s))
        link.expect(deadline_s + EXIT_S, link.process.kill)

    def kill(self, name: str) -> None:
        """End a worker at once, where it still lives."""
        if link := self._links.get(name):
            link.process.kill()

    def _start_order(self, worker: Worker, revision: Revision) -> Start:
        config = revision.config
        around = self._around
        tuning = tuning_of(around.reports, around.facts, revision.digest)
        return Start(
            version=CHANNEL_VERSION,
            server_version=self._around.version,
            deployment=self._deployment,
            model=revision.model,
            model_version=revision.version,
            revision=revision.number,
            digest=revision.digest,
            worker=worker.name,
            threads=config.threads_for(tuning, available_cores()),
            workers=config.workers,
            image=config.image,
            images=images_of(around.ledger, revision.digest),
            batching=config.batching.mode,
            max_batch=config.batching.max_batch,
            max_wait_ms=config.batching.max_wait_ms,
            tuning=None if tuning is None else tuning.model_dump(mode="json"),
            limits=WorkerLimits(**config.limits.model_dump()),
            drain_timeout_s=config.drain_timeout_s,
            metrics_dir=str(self.metrics_dir),
        )

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
            case LameDucked():
                self._observe(seen.Reached(link.name, WorkerState.LAME_DUCK))
            case Drained():
                self._observe(seen.Reached(link.name, WorkerState.DRAINED))
            case CannotServe(reason):
                self._observe(seen.Failed(link.name, f"worker {link.name}: {reason}"))

    def _loaded(self, link: WorkerLink, report: Loaded) -> None:
        source = "its host image" if report.image else "the package"
        self._say("prove", f"worker {link.name} loaded {source} in {report.load_ms:.0f} ms")
        if report.image_fault is not None:
            self._say("prove", f"worker {link.name} uses no host image: {report.image_fault}")
        self._notes[link.name] = report.image_fault

    def _judge(self, link: WorkerLink, report: Gated) -> None:
        """Hold a worker's proof and its memory against what its revision allows."""
        link.expect_nothing()
        usage = self._around.facts.process(link.process.pid)
        findings, denial = judge(report.findings, usage, self._serves[link.name])
        self._proofs[link.name] = findings
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
        retire_slot(self.metrics_dir, link.name)
        self._on_gone(link, reason)
