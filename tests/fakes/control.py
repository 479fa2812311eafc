"""A supervisor played over a ledger and a store: it does what it is asked, without processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hyperion.domain.command import (
    Command,
    Deploy,
    Deployed,
    DeploymentStatus,
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
    Until,
    WarmRevision,
)
from hyperion.domain.deployment import Deployment, Revision
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.metrics import ServingFigures
from hyperion.domain.serving_state import RolloutState
from hyperion.errors import ConflictError, HostError, NotFoundError
from hyperion.ports import Clock, Ledger, PackageOpener, PackageStore

ROLLOUT_S = 2.0
"""What a rollout takes on the fake clock."""


class FakeControl:
    """Implements ports.SupervisorControl.

    Attributes:
        running: Whether a supervisor runs.
        abort_reason: Why the next rollouts abort; None lets them be promoted.
        breach: Why the next revisions are gone back from while they are watched; None lets them stay.
        goes_away: Whether it ends between a ping and the next question.
        asked: Every command that reached it.
        workers_start: Whether the active revisions take traffic.
        updating: Whether another revision is being rolled out, of whatever deployment is asked for.
        figures: What it answers to Stats, by deployment.
        warm: The replaced revision that is still loaded, of whatever deployment is asked for.
        left_orphans: Whether workers live on while it does not run.
    """

    def __init__(self, ledger: Ledger, store: PackageStore, packages: PackageOpener, clock: Clock) -> None:
        self._ledger = ledger
        self._store = store
        self._packages = packages
        self._clock = clock
        self.running = False
        self.abort_reason: str | None = None
        self.breach: str | None = None
        self.goes_away = False
        self.workers_start = True
        self.updating = False
        self.asked: list[Command] = []
        self.figures: dict[str, ServingFigures] = {}
        self.warm: WarmRevision | None = None
        self.left_orphans = False

    def ping(self) -> Pong | None:
        return Pong(pid=4242, version="0.0.0") if self.running else None

    def has_orphans(self) -> bool:
        return self.left_orphans

    def ensure_running(self) -> Pong:
        self.running = True
        return Pong(pid=4242, version="0.0.0")

    def ask(self, command: Command, on_progress: Callable[[Progress], None] | None = None) -> Reply:
        if self.goes_away:
            self.running = False
        if not self.running:
            raise HostError("no supervisor runs", code="supervisor.not_running")
        self.asked.append(command)
        match command:
            case Ping():
                return self.ensure_running()
            case Deploy():
                return self._deploy(command, on_progress or (lambda progress: None))
            case Stop():
                return self._stop(command)
            case Status():
                return StatusReply(pid=4242, deployments=tuple(map(self._status, self._ledger.deployments())))
            case Stats():
                if command.name not in self.figures:
                    raise NotFoundError(f"{command.name!r} does not run", code="deployment.not_running")
                return StatsReply(figures=self.figures[command.name])
            case Record():
                return Recorded(event=self._ledger.append(command.draft))

    def _deploy(self, command: Deploy, tell: Callable[[Progress], None]) -> Deployed:
        name = str(command.config.name)
        given = command.package_path
        opened = self._store.open(command.expected_digest) if given is None else self._packages.open(Path(given))
        with opened as package:
            if package.digest != command.expected_digest:
                raise ConflictError("the package changed since it was checked", code="package.changed")
            tell(Progress(stage="admit", message="into the store"))
            self._store.admit(package)
            active = self._active(name)
            revision = Revision(
                deployment=name,
                number=len(self._ledger.revisions(name)) + 1,
                digest=package.digest,
                model=package.manifest.name,
                version=package.manifest.version,
                config=command.config,
                origin=command.origin,
                reason=command.reason,
                override=command.override,
                replaces=None if active is None else active.number,
                actor=command.actor,
                created_at=self._clock.now(),
            )
        self._ledger.create_revision(revision)
        self._clock.sleep(ROLLOUT_S)
        promoted = self.abort_reason is None
        kind = EventKind.ROLLOUT_PROMOTED if promoted else EventKind.ROLLOUT_ABORTED
        data: dict[str, JsonValue] = {} if promoted else {"reason": self.abort_reason}
        draft = EventDraft(kind=kind, deployment=name, revision=revision.number, actor=command.actor, data=data)
        if promoted:
            self._ledger.promote(name, revision.number, draft)
        else:
            self._ledger.restore_desired(name, revision.replaces, draft)
        state = RolloutState.PROMOTED if promoted else RolloutState.ABORTED
        if command.until is Until.STARTED:
            state = RolloutState.PLANNED
        elif command.until is Until.FINISHED and promoted and self.breach is not None:
            state = RolloutState.ROLLED_BACK
        return Deployed(
            revision=revision,
            promoted=state is RolloutState.PROMOTED,
            state=state,
            url=self._url(revision) if promoted else None,
            reason=self.abort_reason or self.breach,
            duration_ms=round(1000 * ROLLOUT_S),
        )

    def _stop(self, command: Stop) -> Stopped:
        names = tuple(
            deployment.name
            for deployment in self._ledger.deployments()
            if command.name in (None, deployment.name) and deployment.desired_revision is not None
        )
        for name in names:
            draft = EventDraft(kind=EventKind.DEPLOYMENT_STOPPED, deployment=name, actor=command.actor)
            self._ledger.stop(name, draft)
        self.running = any(deployment.desired_revision for deployment in self._ledger.deployments())
        return Stopped(names=names, supervisor_ends=not self.running)

    def _status(self, deployment: Deployment) -> DeploymentStatus:
        active = self._active(deployment.name)
        return DeploymentStatus(
            deployment=deployment,
            active=active,
            serving=active is not None and self.workers_start,
            updating=self.updating,
            url=None if active is None else self._url(active),
            workers=(),
            warm=self.warm,
        )

    def _active(self, name: str) -> Revision | None:
        for deployment in self._ledger.deployments():
            if deployment.name == name and deployment.active_revision is not None:
                return self._ledger.revision(name, deployment.active_revision)
        return None

    @staticmethod
    def _url(revision: Revision) -> str:
        return f"http://{revision.config.serve.host}:{revision.config.serve.port}"
