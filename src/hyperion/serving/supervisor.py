"""The supervisor: one per state folder; keeps what runs equal to what the ledger desires.

It holds the listening sockets and the workers, and is the only writer of ledger and store while it runs. It loads
no model: a broken one can only take its worker down.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from hyperion.domain.command import (
    Command,
    Deploy,
    Deployed,
    Ping,
    Pong,
    Record,
    Recorded,
    Reply,
    Stats,
    StatsReply,
    Status,
    StatusReply,
    Stop,
    Stopped,
)
from hyperion.domain.deployment import Origin, Revision, find_deployment
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConfigError, ConflictError, HostError, HyperionError, NotFoundError
from hyperion.ports import (
    Clock,
    HostFacts,
    KeyRings,
    Ledger,
    PackageOpener,
    PackageStore,
    ReportStore,
    ServiceManager,
    WorkerLauncher,
)
from hyperion.serving import succession
from hyperion.serving.admission import admit_package, make_revision, require_possible
from hyperion.serving.adoption import meet_orphans
from hyperion.serving.control import ControlServer, Tell
from hyperion.serving.deployment import RunningDeployment
from hyperion.serving.figures import deployment_status, serving_figures
from hyperion.serving.flip import is_twin, takes_over
from hyperion.serving.guard import Guards, keep_renewing
from hyperion.serving.listener import open_beside, open_listener, place_of
from hyperion.serving.reconciliation import Found, reconcile
from hyperion.serving.record import begin_rollout
from hyperion.serving.service_state import keep_informed
from hyperion.serving.surroundings import Surroundings
from hyperion.serving.wording import count
from hyperion.verification.room import read_claims, require_room

RETRY_LISTEN_S = 0.5
IDLE_S = 30.0
"""A detached supervisor without deployments ends after this."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorParts:
    """What the supervisor works with; wired by bootstrap."""

    ledger: Ledger
    store: PackageStore
    packages: PackageOpener
    launcher: WorkerLauncher
    facts: HostFacts
    clock: Clock
    manager: ServiceManager
    control_path: Path
    metrics_dir: Path
    reports: ReportStore
    keys: KeyRings
    version: str
    """Of this software."""


class Supervisor:
    """Runs until it is told to end.

    Args:
        parts: Ports and places.
        detached: Whether it was started in the background, then it also ends when it has nothing to do.
        in_terminal: Whether SIGHUP says that its terminal is gone; else it asks for a restart of the workers.
    """

    def __init__(self, parts: SupervisorParts, *, detached: bool = False, in_terminal: bool = False) -> None:
        self._parts = parts
        self._detached = detached
        self._in_terminal = in_terminal
        self.gives_way = False
        """Whether it ended so that a fresh one takes its place: its workers serve on."""
        self._running: dict[str, RunningDeployment] = {}
        self._deploying: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()
        self._control = ControlServer(parts.control_path, self._handle)
        self._actor = parts.facts.user()
        self._around = Surroundings(
            ledger=parts.ledger,
            launcher=parts.launcher,
            facts=parts.facts,
            clock=parts.clock,
            metrics_dir=parts.metrics_dir,
            sockets_dir=parts.control_path.parent,
            reports=parts.reports,
            guards=Guards(parts.keys),
            version=parts.version,
        )

    async def run(self) -> None:
        """Serve what the ledger desires, and commands, until SIGTERM, SIGINT or the last deployment's stop.

        Where it is killed instead, or gives way, its workers go on serving, and the next supervisor adopts them.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        loop.add_signal_handler(signal.SIGHUP, self._end.set if self._in_terminal else self._restart_workers)
        loop.add_signal_handler(succession.ASKED_BY, lambda: self._start(self._give_way()))
        succession.let_signals_in()
        self._note(EventKind.SUPERVISOR_STARTED, pid=os.getpid(), version=self._parts.version)
        await self._reconcile()
        await self._control.start()
        gc.collect()
        gc.freeze()  # all that was imported stays: no collection is to walk it in the middle of a switch
        chores = [asyncio.create_task(keep_informed(self._parts.manager, self._in_words))]
        chores.append(asyncio.create_task(keep_renewing(self._renewals)))
        if self._detached:
            chores.append(asyncio.create_task(self._end_when_idle()))
        await self._end.wait()
        for chore in (*chores, *self._background):
            chore.cancel()
        if self.gives_way:
            await self._control.stop()
            return
        self._parts.manager.tell("STOPPING=1")
        reason = "the supervisor was told to end"
        await asyncio.gather(*(found.stop(recorded=False, reason=reason) for found in list(self._running.values())))
        await self._control.stop()
        self._note(EventKind.SUPERVISOR_STOPPED, pid=os.getpid())

    # --- what the ledger desires, and who lives ---

    async def _reconcile(self) -> None:
        """Adopt the workers that an earlier supervisor left, and start what else is desired."""
        survivors = await meet_orphans(self._parts.launcher)
        for found in reconcile(self._parts.ledger, survivors, self._actor, self._parts.clock.now()):
            running = self._add(found.revision.deployment)
            found.close_copies()
            if found.survivors:
                pids: list[JsonValue] = [survivor.process.pid for survivor, _ in found.survivors]
                self._note(EventKind.WORKERS_ADOPTED, found.revision, pids=pids)
            if (listener := found.listener) is not None:
                running.resume(found, listener)
                if not found.desired:
                    self._start(running.stop(recorded=True, reason="the deployment was stopped"))
            elif found.desired:
                self._start(self._resume_when_free(running, found))

    async def _resume_when_free(self, running: RunningDeployment, found: Found) -> None:
        """Start to serve; while the port is in use, or its keys or certificate cannot be read, try again."""
        while not (running.state.stopping or running.state.updating or running.state.active):
            try:
                self._around.guards.of(found.revision)
                listener = open_listener(found.revision.config.serve, self._parts.manager.listeners())
            except (ConfigError, HostError) as error:
                running.trouble = error.message
                await asyncio.sleep(RETRY_LISTEN_S)
            else:
                running.trouble = None
                running.resume(found, listener)
                return

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in the background, until the supervisor ends."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --- commands ---

    async def _handle(self, command: Command, tell: Tell) -> Reply:
        match command:
            case Ping():
                opened = tuple(place_of(listener) for listener in self._parts.manager.listeners())
                return Pong(pid=os.getpid(), version=self._parts.version, opened=opened)
            case Deploy():
                return await self._deploy(command, tell)
            case Stop():
                return await self._stop(command)
            case Status():
                return self._status()
            case Stats():
                return self._stats(command.name)
            case Record():
                return Recorded(event=self._parts.ledger.append(command.draft))
            case _:
                assert_never(command)

    async def _deploy(self, command: Deploy, tell: Tell) -> Deployed:
        name = command.config.name
        if name is None:
            raise ConfigError("the config has no name", code="control.malformed")
        if command.origin is Origin.ROLLBACK and name in self._running:
            self._running[name].recall(f"a rollback was asked for: {command.reason}")
        self._require_settled(name)
        if name in self._deploying:
            raise _in_progress(name)
        self._deploying.add(name)
        try:
            self._around.guards.require(command.config)
            warm = self._warm_twin(command)
            package = await admit_package(self._parts.packages, self._parts.store, command, tell, warm)
            if self._end.is_set():
                raise ConflictError("the supervisor is ending", hint="repeat the command", code="supervisor.ending")
            self._require_settled(name)  # a way back that nobody asked for may have begun meanwhile
            revision = make_revision(command, package, self._parts.ledger, self._parts.clock)
            if revision.origin is Origin.DEPLOY:  # a way back is not refused for want of room
                kept = (running.warm for running in self._running.values() if running.warm is not None)
                require_room(read_claims(self._parts.ledger, kept), revision.config, self._parts.facts)
            active = None if name not in self._running else self._running[name].active
            require_possible(revision, active)
            running, listener = self._record_revision(revision, command)
        finally:
            self._deploying.discard(name)
        return await running.roll_out(revision, listener, tell, command.until)

    def _warm_twin(self, command: Deploy) -> Revision | None:
        running = self._running.get(command.config.name or "")
        warm = None if running is None else running.warm
        return warm if warm is not None and is_twin(warm, command.expected_digest, command.config) else None

    def _require_settled(self, name: str) -> None:
        """Refuse while a rollout of the deployment moves workers or traffic, or it stops."""
        running = self._running.get(name)
        if running is not None and (running.state.updating or running.state.stopping):
            raise _in_progress(name)

    def _record_revision(self, revision: Revision, command: Deploy) -> tuple[RunningDeployment, socket.socket]:
        """Make the revision desired, durably; with the deployment that is to roll it out, and its socket."""
        running = self._running.get(revision.deployment)
        shared = None if running is None else running.listener_for(revision)
        listener = self._listen(revision) if shared is None else shared
        checklist = None if command.checklist is None else command.checklist.model_dump(mode="json")
        flips = running is not None and takes_over(revision, running.warm)
        try:
            begin_rollout(self._parts.ledger, revision, flips=flips, checklist=checklist)
        except HyperionError:
            if shared is None:
                listener.close()
            raise
        return running or self._add(revision.deployment), listener

    def _listen(self, revision: Revision) -> socket.socket:
        """Open the revision's own socket; a place that another deployment of ours has is named so."""
        others = {running.name: running.url for running in self._running.values()}
        return open_beside(others, revision.config.serve, self._parts.manager.listeners())

    async def _stop(self, command: Stop) -> Stopped:
        desired = {d.name for d in self._parts.ledger.deployments() if d.desired_revision is not None}
        names = sorted(desired | set(self._running))
        if command.name is not None:
            name = find_deployment(self._parts.ledger.deployments(), command.name).name
            if name not in names:
                raise NotFoundError(
                    f"the deployment {name!r} does not run",
                    hint="'hyperion status' shows what does",
                    code="deployment.not_running",
                )
            names = [name]
        for name in names:
            draft = EventDraft(kind=EventKind.DEPLOYMENT_STOPPED, deployment=name, actor=command.actor)
            self._parts.ledger.stop(name, draft)
        running = [self._running[name] for name in names if name in self._running]
        await asyncio.gather(*(one.stop(recorded=True, reason="the deployment was stopped") for one in running))
        ends = not self._running and not self._deploying
        if ends:
            asyncio.get_running_loop().call_soon(self._end.set)
        return Stopped(names=tuple(names), supervisor_ends=ends)

    def _status(self) -> StatusReply:
        ledger, facts = self._parts.ledger, self._parts.facts
        found = []
        for deployment in ledger.deployments():
            number = deployment.active_revision
            active = None if number is None else ledger.revision(deployment.name, number)
            found.append(deployment_status(deployment, self._running.get(deployment.name), active, facts))
        return StatusReply(pid=os.getpid(), deployments=tuple(found))

    def _stats(self, name: str) -> StatsReply:
        running = self._running.get(name)
        active = None if running is None else running.active
        if running is None or active is None:
            raise NotFoundError(
                f"the deployment {name!r} does not run",
                hint="'hyperion status' shows what does",
                code="deployment.not_running",
            )
        return StatsReply(figures=serving_figures(running, active, self._parts.facts, self._parts.clock.now()))

    async def _give_way(self) -> None:
        """What SIGUSR2 asks for."""
        _log.info("a fresh supervisor is to take over, once no rollout and no command is under way")
        await succession.settled(lambda: self._busy)
        self._tell_reloading()
        self.gives_way = True
        self._end.set()

    @property
    def _busy(self) -> bool:
        states = [running.state for running in self._running.values()]
        moving = any(state.updating or state.stopping or state.renewing for state in states)
        return moving or bool(self._deploying) or self._control.busy

    def _tell_reloading(self) -> None:
        self._parts.manager.tell("RELOADING=1", f"MONOTONIC_USEC={round(1e6 * self._parts.clock.monotonic())}")

    def _restart_workers(self) -> None:
        """What SIGHUP asks for, and ``systemctl reload``."""
        self._tell_reloading()
        for running in self._running.values():
            running.restart()
        self._parts.manager.tell("READY=1")

    # --- small things ---

    def _renewals(self) -> Iterator[Callable[[], None]]:
        return (running.workers.renew_guards for running in self._running.values())

    def _in_words(self) -> str:
        serving = sum(running.state.serving for running in self._running.values())
        return f"{serving} of {count(len(self._running), 'deployment')} in service"

    def _add(self, name: str) -> RunningDeployment:
        self._running[name] = RunningDeployment(name, self._around, self._listen, self._ended)
        return self._running[name]

    def _ended(self, running: RunningDeployment) -> None:
        if self._running.get(running.name) is running:
            del self._running[running.name]

    def _note(self, kind: EventKind, revision: Revision | None = None, **data: JsonValue) -> None:
        """Append an event that nothing depends on: where that fails, it is logged and work goes on."""
        draft = EventDraft(
            kind=kind,
            deployment=None if revision is None else revision.deployment,
            revision=None if revision is None else revision.number,
            actor=self._actor if revision is None else revision.actor,
            data=data,
        )
        try:
            self._parts.ledger.append(draft)
        except HyperionError as error:
            _log.warning("the event %s could not be recorded: %s", kind, error)

    async def _end_when_idle(self) -> None:
        idle_since = self._parts.clock.monotonic()
        while self._parts.clock.monotonic() - idle_since < IDLE_S:
            await asyncio.sleep(1.0)
            if self._running or self._deploying or self._control.busy:
                idle_since = self._parts.clock.monotonic()
        self._end.set()


def _in_progress(name: str) -> ConflictError:
    return ConflictError(
        f"a rollout of {name!r} is in progress",
        hint="wait for its end ('hyperion status' shows it), then repeat the command",
        code="rollout.in_progress",
    )
