"""Composition root: environment → wired adapters. The only module that knows ports and adapters both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hyperion.ports import Clock, Engine, Host, PackageStore, ProofRecord
    from hyperion.serving.supervisor import SupervisorParts


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


def open_host(state: Path | None = None) -> Host:
    """The wired host, on the state folder ``state`` (by default the one of the environment).

    Raises:
        HostError: The state folder belongs to another user.
    """
    from hyperion.adapters.atomic_file import AtomicFiles
    from hyperion.adapters.child_sandbox import ChildSandbox
    from hyperion.adapters.control_client import SupervisorClient
    from hyperion.adapters.dataset import LocalDatasets
    from hyperion.adapters.host_facts import LocalHostFacts
    from hyperion.adapters.inference_client import HttpInferenceClient
    from hyperion.adapters.ledger import SqliteLedger
    from hyperion.adapters.local_store import LocalPackageStore
    from hyperion.adapters.model_directory import ModelDirectories
    from hyperion.adapters.onnx_graph import OnnxGraphs
    from hyperion.adapters.onnx_values import OnnxWeights
    from hyperion.adapters.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.package_files import LocalPackages
    from hyperion.adapters.proof_record import SqliteProofRecord
    from hyperion.adapters.report_store import LocalReportStore
    from hyperion.adapters.serving_log import JsonLinesLog
    from hyperion.adapters.state_folder import require_own
    from hyperion.adapters.system_clock import SystemClock
    from hyperion.ports import Host

    root = require_own(state_dir() if state is None else state)
    clock, files = SystemClock(), AtomicFiles()
    return Host(
        clock=clock,
        files=files,
        sources=ModelDirectories(),
        graphs=OnnxGraphs(),
        weights=OnnxWeights(),
        engine=OnnxRuntimeEngine(),
        sandbox=ChildSandbox(),
        packages=LocalPackages(),
        store=LocalPackageStore(root, files),
        proofs=SqliteProofRecord(root),
        ledger=SqliteLedger(root / "ledger.db", clock),
        reports=LocalReportStore(root, files),
        log=JsonLinesLog(root / "logs"),
        control=SupervisorClient(root),
        facts=LocalHostFacts(root),
        inference=HttpInferenceClient(),
        datasets=LocalDatasets(),
        state_dir=root,
        trust_policy=trust_policy(),
    )


def supervisor_lock(state: Path | None = None) -> AbstractContextManager[object]:
    """The lock that the supervisor of a state folder holds; entering raises ConflictError where another has it."""
    from hyperion.adapters.file_lock import SupervisorLock
    from hyperion.adapters.state_folder import claim_state

    root = claim_state(state_dir() if state is None else state)
    return SupervisorLock(root / "run" / "supervisor.lock")


def open_supervisor_parts(state: Path | None = None) -> SupervisorParts:
    """What a supervisor works with; it needs no engine."""
    from hyperion import __version__
    from hyperion.adapters.atomic_file import AtomicFiles
    from hyperion.adapters.control_client import control_path, open_control_folder
    from hyperion.adapters.host_facts import LocalHostFacts
    from hyperion.adapters.ledger import SqliteLedger
    from hyperion.adapters.local_store import LocalPackageStore
    from hyperion.adapters.package_files import LocalPackages
    from hyperion.adapters.state_folder import claim_state
    from hyperion.adapters.system_clock import SystemClock
    from hyperion.adapters.worker_processes import ExecutedWorkers
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
        control_path=socket,
        metrics_dir=root / "metrics",
        version=__version__,
    )


class WorkerParts(NamedTuple):
    """What a worker works with."""

    engine: Engine
    store: PackageStore
    proofs: ProofRecord
    clock: Clock


def open_worker_parts(state: Path | None = None) -> WorkerParts:
    """What loads a package; nothing else is imported, for a worker's start is waited for."""
    from hyperion.adapters.atomic_file import AtomicFiles
    from hyperion.adapters.local_store import LocalPackageStore
    from hyperion.adapters.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.proof_record import SqliteProofRecord
    from hyperion.adapters.system_clock import SystemClock

    root = state_dir() if state is None else state
    store = LocalPackageStore(root, AtomicFiles())
    return WorkerParts(OnnxRuntimeEngine(), store, SqliteProofRecord(root), SystemClock())
