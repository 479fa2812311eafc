"""The supervisor: one per state folder; keeps what runs equal to what the ledger desires.

It holds the listening sockets and the workers, and is the only writer of ledger and store while it runs. It loads
no model: a broken one can only take its worker down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from hyperion.domain.command import (
    Command,
    Deploy,
    Deployed,
    Ping,
    Pong,
    Progress,
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
from hyperion.domain.deployment import Deployment, Revision, find_deployment
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConfigError, ConflictError, HostError, HyperionError, NotFoundError
from hyperion.ports import Clock, HostFacts, Ledger, PackageOpener, PackageStore, ReportStore, WorkerLauncher
from hyperion.serving.admission import admit_package, make_revision
from hyperion.serving.control import ControlServer, Tell
from hyperion.serving.deployment import RunningDeployment
from hyperion.serving.figures import deployment_status, serving_figures
from hyperion.serving.listener import open_listener, require_guarded
from hyperion.serving.surroundings import Surroundings

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
    control_path: Path
    metrics_dir: Path
    reports: ReportStore
    version: str
    """Of this software."""


class Supervisor:
    """Runs until it is told to end.

    Args:
        parts: Ports and places.
        detached: Whether it was started in the background, then it also ends when it has nothing to do.
    """

    def __init__(self, parts: SupervisorParts, *, detached: bool = False) -> None:
        self._parts = parts
        self._detached = detached
        self._running: dict[str, RunningDeployment] = {}
        self._deploying: set[str] = set()
        self._resuming: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()
        self._control = ControlServer(parts.control_path, self._handle)
        self._actor = parts.facts.user()
        self._around = Surroundings(
            parts.ledger, parts.launcher, parts.facts, parts.clock, parts.metrics_dir, parts.reports, parts.version
        )

    async def run(self) -> None:
        """Serve what the ledger desires, and commands, until SIGTERM, SIGINT or the last deployment's stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        self._note(EventKind.SUPERVISOR_STARTED, pid=os.getpid(), version=self._parts.version)
        self._reconcile()
        await self._control.start()
        idle = asyncio.create_task(self._end_when_idle()) if self._detached else None
        await self._end.wait()
        if idle is not None:
            idle.cancel()
        for task in self._resuming:
            task.cancel()
        reason = "the supervisor was told to end"
        await asyncio.gather(*(found.stop(recorded=False, reason=reason) for found in list(self._running.values())))
        await self._control.stop()
        self._note(EventKind.SUPERVISOR_STOPPED, pid=os.getpid())

    # --- what the ledger desires ---

    def _reconcile(self) -> None:
        """Start every desired deployment; a rollout that an earlier supervisor left unfinished is aborted."""
        for deployment in self._parts.ledger.deployments():
            if deployment.desired_revision is None:
                continue
            if deployment.desired_revision != deployment.active_revision:
                self._abort_unfinished(deployment)
            if deployment.active_revision is not None:
                revision = self._parts.ledger.revision(deployment.name, deployment.active_revision)
                self._resume(revision)

    def _abort_unfinished(self, deployment: Deployment) -> None:
        draft = EventDraft(
            kind=EventKind.ROLLOUT_ABORTED,
            deployment=deployment.name,
            revision=deployment.desired_revision,
            actor=self._actor,
            data={"reason": "the supervisor ended during the rollout"},
        )
        self._parts.ledger.restore_desired(deployment.name, deployment.active_revision, draft)

    def _resume(self, revision: Revision) -> None:
        running = self._add(revision.deployment)
        task = asyncio.create_task(self._resume_when_free(running, revision))
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    async def _resume_when_free(self, running: RunningDeployment, revision: Revision) -> None:
        """Start to serve; while the port is in use (workers of a supervisor that died still leave it) try again."""
        while not (running.state.stopping or running.state.updating or running.state.active):
            try:
                listener = open_listener(revision.config.serve)
            except HostError as error:
                running.trouble = error.message
                await asyncio.sleep(RETRY_LISTEN_S)
            else:
                running.trouble = None
                running.resume(revision, listener)
                return

    # --- commands ---

    async def _handle(self, command: Command, tell: Tell) -> Reply:
        match command:
            case Ping():
                return Pong(pid=os.getpid(), version=self._parts.version)
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
        running = self._running.get(name)
        if name in self._deploying or (running is not None and (running.state.updating or running.state.stopping)):
            raise ConflictError(
                f"a rollout of {name!r} is in progress",
                hint="wait for its end ('hyperion status' shows it), then repeat the command",
                code="rollout.in_progress",
            )
        self._deploying.add(name)
        try:
            require_guarded(command.config.serve)
            manifest = await admit_package(self._parts.packages, self._parts.store, command, tell)
            if self._end.is_set():
                raise ConflictError("the supervisor is ending", hint="repeat the command", code="supervisor.ending")
            revision = make_revision(command, manifest, self._parts.ledger, self._parts.clock)
            return await self._roll_out(revision, command, tell)
        finally:
            self._deploying.discard(name)

    async def _roll_out(self, revision: Revision, command: Deploy, tell: Tell) -> Deployed:
        running = self._running.get(revision.deployment)
        listener = None if running is None else running.listener_for(revision)
        if listener is None:
            listener = self._listen(revision)
        try:
            self._parts.ledger.create_revision(revision)
        except HyperionError:
            if running is None or listener is not running.listener_for(revision):
                listener.close()
            raise
        checklist = None if command.checklist is None else command.checklist.model_dump(mode="json")
        self._note(EventKind.ROLLOUT_STARTED, revision, checklist=checklist)
        if running is None or running.name not in self._running:
            running = self._add(revision.deployment)
        deployed = await running.roll_out(revision, listener, tell)
        tell(Progress(stage="promote" if deployed.promoted else "abort", message=deployed.reason or "done"))
        return deployed

    def _listen(self, revision: Revision) -> socket.socket:
        """Open the revision's own socket; a port that another deployment of ours has is named so."""
        try:
            return open_listener(revision.config.serve)
        except HostError as error:
            wanted = revision.config.serve.port
            for other in self._running.values():
                if error.code == "host.port_in_use" and other.url and other.url.endswith(f":{wanted}"):
                    raise HostError(
                        f"port {wanted} is in use by the deployment {other.name!r}",
                        hint="give each deployment its own serve.port, or stop that one",
                        code=error.code,
                        expected="a free port",
                        actual=other.url,
                    ) from error
            raise

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

    # --- small things ---

    def _add(self, name: str) -> RunningDeployment:
        self._running[name] = RunningDeployment(name, self._around, self._ended)
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
