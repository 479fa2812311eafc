"""Real worker processes, driven over their channel as a supervisor drives them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hyperion import __version__
from hyperion.domain.config import DeploymentConfig
from hyperion.serving.channel import (
    CHANNEL_VERSION,
    Accepting,
    AcceptTraffic,
    CannotServe,
    FramesOpen,
    Gated,
    Guard,
    OpenFrames,
    Rest,
    Rested,
    Route,
    Routed,
    Start,
    ToSupervisor,
    ToWorker,
    WorkerLimits,
    encode,
    parse_report,
)
from hyperion.serving.dialing import dial

T = TypeVar("T", bound=ToSupervisor)
DEPLOYMENT = "shop"
INFER = f"/v2/models/{DEPLOYMENT}/infer"


@dataclass
class DrivenWorker:
    """A worker process and the supervisor's end of its channel; the caller is the supervisor."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    start: Start
    heard: list[ToSupervisor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.control.settimeout(30)
        self._stream = self.control.makefile("rb")

    def tell(self, message: ToWorker) -> None:
        message, sockets = dial(message)
        socket.send_fds(self.control, [encode(message)], [end.fileno() for end in sockets])
        for end in sockets:
            end.close()

    def hear(self, kind: type[T]) -> T:
        """The next message of this kind; others are kept in ``heard``."""
        while line := self._stream.readline():
            report = parse_report(line)
            self.heard.append(report)
            if isinstance(report, kind):
                return report
            assert not isinstance(report, CannotServe), report.reason
        raise AssertionError(f"the worker ended without a {kind.__name__}: exit status {self.process.wait(10)}")

    def prove(self) -> None:
        """Wait until it is proven."""
        self.hear(Gated)

    def accept(self, revision: int | None = None, worker: str | None = None) -> None:
        self.tell(AcceptTraffic(revision, worker))
        self.hear(Accepting)

    def open_frames(self) -> None:
        self.tell(OpenFrames())
        self.hear(FramesOpen)

    def route(self, share: float, *candidates: DrivenWorker, sticky_header: str | None = None) -> None:
        revision = candidates[0].start.revision if candidates else 0
        self.tell(Route(revision, share, [one.start.frames_path for one in candidates], sticky_header))
        self.hear(Routed)

    def end(self) -> int:
        """Kill it, where it still lives; returns its exit status."""
        if self.process.poll() is None:
            self.process.kill()
        self._stream.close()
        self.control.close()
        return self.process.wait(10)


@dataclass
class Workers:
    """A state folder with packages in its store, a listening socket, and workers on both."""

    state: Path
    listener: socket.socket
    running: list[DrivenWorker] = field(default_factory=list)
    entry: str = "hyperion.cli.worker"
    """Module that workers are started as."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def metrics_dir(self) -> Path:
        return self.state / "metrics" / DEPLOYMENT

    def admit(self, package: Path) -> tuple[str, str]:
        """Take a package into the store: its digest and version."""
        from hyperion.adapters.files.atomic_file import AtomicFiles
        from hyperion.adapters.files.package_files import LocalPackages
        from hyperion.adapters.store.local_store import LocalPackageStore

        with LocalPackages().open(package) as opened:
            return LocalPackageStore(self.state, AtomicFiles()).admit(opened), str(opened.manifest.version)

    def launch(
        self, package: Path, revision: int, index: int = 0, guard: Guard | None = None, **config: Any
    ) -> DrivenWorker:
        """Start one; it loads meanwhile. ``config`` are keys of deployment.json."""
        digest, version = self.admit(package)
        found = DeploymentConfig.model_validate({"name": DEPLOYMENT, **config})
        ours, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), self.listener.fileno())
        with (self.state / f"r{revision}-w{index}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.entry, *map(str, descriptors)],
                env=os.environ | {"HYPERION_HOME": str(self.state), "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors,
            )  # fmt: skip
        theirs.close()
        sockets = self.state / "s"
        sockets.mkdir(exist_ok=True)
        self.metrics_dir.mkdir(parents=True, exist_ok=True)
        start = Start(
            version=CHANNEL_VERSION, server_version=__version__, deployment=DEPLOYMENT, model="model",
            model_version=version, revision=revision, digest=digest, worker=f"r{revision}-w{index}", threads=1,
            workers=1, image="off", images={}, batching=found.batching.mode, max_batch=1, max_wait_ms=0.0, tuning=None,
            limits=WorkerLimits(**found.limits.model_dump()), drain_timeout_s=found.drain_timeout_s,
            metrics_dir=str(self.metrics_dir), guard=guard or Guard(),
            frames_path=str(sockets / f"w{process.pid}.frames"),
            handover_path=str(sockets / f"w{process.pid}.handover"),
            control_path=str(sockets / f"w{process.pid}.control"),
        )  # fmt: skip
        worker = DrivenWorker(process, ours, start)
        self.running.append(worker)
        worker.tell(start)
        return worker

    def start(self, package: Path, revision: int, index: int = 0, **config: Any) -> DrivenWorker:
        """Start one and wait until it is proven."""
        worker = self.launch(package, revision, index, **config)
        worker.prove()
        return worker


@contextmanager
def workers(state: Path) -> Iterator[Workers]:
    """Workers on a state folder and a listening socket of their own; at the end all are gone."""
    state.mkdir(parents=True, exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    kit = Workers(state, listener)
    try:
        yield kit
    finally:
        for worker in kit.running:
            worker.end()
        listener.close()


@dataclass
class Pair:
    """v1 as revision 1 and v2 as revision 2, used by many tests one after the other."""

    kit: Workers
    stable: DrivenWorker
    candidate: DrivenWorker
    packages: Path
    extras: list[DrivenWorker] = field(default_factory=list)

    def reset(self) -> None:
        """v1 accepts as revision 1 and forwards nothing; v2 takes no connection and answers frames as revision 2."""
        self.stable.accept(1, "r1-w0")
        self.candidate.accept(2, "r2-w0")
        self.candidate.tell(Rest(0.0, []))
        self.candidate.hear(Rested)
        self.candidate.open_frames()

    def extra_candidate(self, package: Path | None = None) -> DrivenWorker:
        """One more worker, of a revision of its own, that answers frames."""
        self.extras.append(self.kit.start(package or self.packages / "v2.hyperion", 3 + len(self.extras)))
        self.extras[-1].open_frames()
        return self.extras[-1]


@contextmanager
def pair_of_workers(state: Path, packages: Path) -> Iterator[Pair]:
    """Requests may take 1 s there."""
    with workers(state) as kit:
        limits = {"request_timeout_s": 1.0}
        stable = kit.launch(packages / "v1.hyperion", 1, limits=limits)
        candidate = kit.launch(packages / "v2.hyperion", 2, limits=limits)
        stable.prove()
        candidate.prove()
        yield Pair(kit, stable, candidate, packages)
