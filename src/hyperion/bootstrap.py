"""Composition root: environment → wired adapters. The only module that knows ports and adapters both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from hyperion.adapters.files.file_lock import SupervisorLock
    from hyperion.domain.confinement import Confinement, Protection
    from hyperion.domain.service_unit import Scope
    from hyperion.ports import Clock, Engine, Host, HostImages, KeyRings, PackageStore, Processors, ProofRecord
    from hyperion.serving.supervisor import SupervisorParts
    from hyperion.usecases.service import UnitCheck


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this host's state lives: ``$HYPERION_HOME``, else ``$XDG_DATA_HOME/hyperion``.

    A relative ``XDG_DATA_HOME`` is ignored, as the XDG base directory specification says.
    """
    if home := environ.get("HYPERION_HOME"):
        return Path(home).expanduser().absolute()
    data_home = Path(environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():
        data_home = Path("~/.local/share").expanduser()
    return data_home / "hyperion"


def trust_policy(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The trust policy that this host was given by ``$HYPERION_TRUST_POLICY``, or None."""
    given = environ.get("HYPERION_TRUST_POLICY")
    return Path(given).expanduser().absolute() if given else None


def inference_access(environ: Mapping[str, str] = os.environ) -> tuple[str | None, Path | None]:
    """What our own requests to deployments show and trust: ``$HYPERION_API_KEY`` and ``$HYPERION_CA_FILE``."""
    authority = environ.get("HYPERION_CA_FILE")
    return environ.get("HYPERION_API_KEY") or None, Path(authority).absolute() if authority else None


def image_limit_bytes(environ: Mapping[str, str] = os.environ) -> int:
    """What all host images may take: ``$HYPERION_IMAGE_LIMIT_MB`` mebibytes, 16 GiB by default.

    Raises:
        ConfigError: It is no number (code ``config.image_limit``).
    """
    from hyperion.errors import ConfigError

    given = environ.get("HYPERION_IMAGE_LIMIT_MB", "16384")
    if not given.isascii() or not given.isdigit() or len(given) > 12:
        raise ConfigError(
            f"HYPERION_IMAGE_LIMIT_MB: expected a whole number of mebibytes, found {given[:40]!r}",
            code="config.image_limit",
        )
    return int(given) * 1024 * 1024


def open_host(state: Path | None = None) -> Host:
    """The wired host, on the state folder ``state`` (by default the one of the environment).

    Raises:
        HostError: The state folder belongs to another user.
    """
    from hyperion import __version__
    from hyperion.adapters.conversion.model_converters import ChildConverters
    from hyperion.adapters.dataset.reading import LocalDatasets
    from hyperion.adapters.engine.host_images import LocalHostImages
    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.engine.prepared_graphs import PreparedGraphs
    from hyperion.adapters.files.atomic_file import AtomicFiles
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.files.report_store import LocalReportStore
    from hyperion.adapters.files.state_folder import require_own
    from hyperion.adapters.host.host_facts import LocalHostFacts
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.onnx.graph import OnnxGraphs
    from hyperion.adapters.onnx.model_directory import ModelDirectories
    from hyperion.adapters.onnx.values import OnnxWeights
    from hyperion.adapters.processing.route import LocalProcessors
    from hyperion.adapters.sandbox.child_sandbox import ChildSandbox
    from hyperion.adapters.service.control_client import SupervisorClient
    from hyperion.adapters.service.inference_client import HttpInferenceClient
    from hyperion.adapters.service.serving_log import JsonLinesLog
    from hyperion.adapters.store.ledger import SqliteLedger
    from hyperion.adapters.store.local_store import LocalPackageStore
    from hyperion.adapters.store.proof_record import SqliteProofRecord
    from hyperion.ports import Host

    root = require_own(state_dir() if state is None else state)
    clock, files, proofs = SystemClock(), AtomicFiles(), SqliteProofRecord(root)
    engine, sandbox = OnnxRuntimeEngine(PreparedGraphs(root, __version__)), ChildSandbox()
    return Host(
        clock=clock,
        files=files,
        sources=ModelDirectories(),
        converters=ChildConverters(),
        graphs=OnnxGraphs(),
        weights=OnnxWeights(),
        engine=engine,
        sandbox=sandbox,
        images=LocalHostImages(root, engine, proofs, clock, sandbox, image_limit_bytes()),
        packages=LocalPackages(),
        store=LocalPackageStore(root, files),
        proofs=proofs,
        ledger=SqliteLedger(root / "ledger.db", clock),
        reports=LocalReportStore(root, files),
        log=JsonLinesLog(root / "logs"),
        control=SupervisorClient(root),
        facts=LocalHostFacts(root),
        inference=HttpInferenceClient(*inference_access()),
        datasets=LocalDatasets(),
        processors=LocalProcessors(),
        state_dir=root,
        trust_policy=trust_policy(),
    )


def supervisor_lock(state: Path | None = None) -> SupervisorLock:
    """The lock that the supervisor of a state folder holds; entering raises ConflictError where another has it."""
    from hyperion.adapters.files.file_lock import SupervisorLock
    from hyperion.adapters.files.state_folder import claim_state

    root = claim_state(state_dir() if state is None else state)
    return SupervisorLock(root / "run" / "supervisor.lock")


def give_way(lock: SupervisorLock, parts: SupervisorParts) -> NoReturn:
    """Let a fresh supervisor take the place of this one, in its process; its workers serve on."""
    from hyperion.adapters.service import succession

    succession.give_way(lock, parts.manager)


def open_supervisor_parts(state: Path | None = None) -> SupervisorParts:
    """What a supervisor works with; it needs no engine."""
    from hyperion import __version__
    from hyperion.adapters.files.atomic_file import AtomicFiles
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.files.report_store import LocalReportStore
    from hyperion.adapters.files.state_folder import claim_state
    from hyperion.adapters.host.host_facts import LocalHostFacts
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.service.control_client import control_path, open_control_folder
    from hyperion.adapters.service.service_manager import SystemdManager
    from hyperion.adapters.service.worker_processes import ExecutedWorkers
    from hyperion.adapters.store.key_ring_file import LocalKeyRings
    from hyperion.adapters.store.ledger import SqliteLedger
    from hyperion.adapters.store.local_store import LocalPackageStore
    from hyperion.serving.supervisor import SupervisorParts

    root = claim_state(state_dir() if state is None else state)
    clock = SystemClock()
    socket = control_path(root)
    open_control_folder(socket)
    return SupervisorParts(
        ledger=SqliteLedger(root / "ledger.db", clock),
        store=LocalPackageStore(root, AtomicFiles()),
        packages=LocalPackages(),
        launcher=ExecutedWorkers(root),
        facts=LocalHostFacts(root),
        clock=clock,
        manager=SystemdManager(),
        control_path=socket,
        metrics_dir=root / "metrics",
        reports=LocalReportStore(root, AtomicFiles()),
        keys=LocalKeyRings(root, AtomicFiles()),
        version=__version__,
    )


def open_unit_check() -> Callable[[Sequence[Path], Scope], UnitCheck]:
    """What checks systemd's units."""
    from hyperion.adapters.service.unit_check import verify_units
    from hyperion.domain.service_unit import Scope
    from hyperion.usecases.service import UnitCheck

    def check(paths: Sequence[Path], scope: Scope) -> UnitCheck:
        passed, messages = verify_units(paths, user=scope is Scope.USER)
        return UnitCheck(passed=passed, messages=messages)

    return check


def open_key_rings(state: Path | None = None) -> KeyRings:
    """The API keys of this host."""
    from hyperion.adapters.files.atomic_file import AtomicFiles
    from hyperion.adapters.files.state_folder import require_own
    from hyperion.adapters.store.key_ring_file import LocalKeyRings

    return LocalKeyRings(require_own(state_dir() if state is None else state), AtomicFiles())


class WorkerParts(NamedTuple):
    """What a worker works with."""

    engine: Engine
    images: HostImages
    store: PackageStore
    proofs: ProofRecord
    clock: Clock
    processors: Processors
    confine: Callable[[Path], Confinement]
    """Confines this process for good; takes the folder of its counters, the one that it may write."""
    wall_in: Callable[[int | None], Protection]
    """Limits the address space of this process, which is warm; takes the limit in MiB, None for the default."""


class WorkerFolders(NamedTuple):
    """What of the state folder a worker needs; it opens nothing else there."""

    read: tuple[Path, ...]
    """Its package, the proofs that it is whole, its host image and its prepared graph. Never to be written by a worker:
    a model that took one over could prepare what the next worker loads."""
    write: tuple[Path, ...]
    """Its counters; its log is a descriptor that it inherits."""


def worker_folders(metrics_dir: Path, state: Path | None = None) -> WorkerFolders:
    """The files and folders of the state folder that a worker needs, whether they exist yet or not.

    Args:
        metrics_dir: Its deployment's folder of counters, as its start order names it.
        state: The state folder, by default the one of the environment.
    """
    root = state_dir() if state is None else state
    names = ("blobs", "signings", "images", "graphs", "proofs.db", "proofs.db-journal")
    return WorkerFolders(tuple(root / name for name in names), (metrics_dir,))


def open_worker_parts(state: Path | None = None) -> WorkerParts:
    """What loads a package; nothing else is imported, for a worker's start is waited for."""
    from hyperion import __version__
    from hyperion.adapters.engine.host_images import LocalHostImages
    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.engine.prepared_graphs import PreparedGraphs
    from hyperion.adapters.files.atomic_file import AtomicFiles
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.processing.route import LocalProcessors
    from hyperion.adapters.sandbox.address_space import wall_in
    from hyperion.adapters.sandbox.confinement import confine
    from hyperion.adapters.sandbox.unprivileged_user import give_folder, worker_user
    from hyperion.adapters.store.local_store import LocalPackageStore
    from hyperion.adapters.store.proof_record import SqliteProofRecord

    root = state_dir() if state is None else state
    engine, proofs, clock = OnnxRuntimeEngine(PreparedGraphs(root, __version__)), SqliteProofRecord(root), SystemClock()
    images, store = LocalHostImages(root, engine, proofs, clock), LocalPackageStore(root, AtomicFiles())

    def confine_worker(metrics_dir: Path) -> Confinement:
        folders, user = worker_folders(metrics_dir, root), worker_user()
        if user is not None:
            give_folder(metrics_dir, user)
        return confine(folders.read, folders.write, leave_root=True, user=user)

    return WorkerParts(engine, images, store, proofs, clock, LocalProcessors(), confine_worker, wall_in)
