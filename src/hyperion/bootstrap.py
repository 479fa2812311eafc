"""Composition root: environment → wired adapters. The only module that knows ports and adapters both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperion.ports import Host


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


def open_host(state: Path | None = None) -> Host:
    """The wired host, on the state folder ``state`` (by default the one of the environment).

    Raises:
        HostError: The state folder belongs to another user or cannot be made.
    """
    from hyperion.adapters.atomic_file import AtomicFiles
    from hyperion.adapters.child_sandbox import ChildSandbox
    from hyperion.adapters.control_client import SupervisorClient
    from hyperion.adapters.host_facts import LocalHostFacts
    from hyperion.adapters.inference_client import HttpInferenceClient
    from hyperion.adapters.ledger import SqliteLedger
    from hyperion.adapters.local_store import LocalPackageStore, claim_state
    from hyperion.adapters.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.package_files import LocalPackages
    from hyperion.adapters.report_store import LocalReportStore
    from hyperion.adapters.serving_log import JsonLinesLog
    from hyperion.adapters.system_clock import SystemClock
    from hyperion.ports import Host

    root = state_dir() if state is None else state
    claim_state(root)
    clock, files = SystemClock(), AtomicFiles()
    return Host(
        clock=clock,
        files=files,
        engine=OnnxRuntimeEngine(),
        sandbox=ChildSandbox(),
        packages=LocalPackages(),
        store=LocalPackageStore(root, files),
        ledger=SqliteLedger(root / "ledger.db", clock),
        reports=LocalReportStore(root / "reports", files),
        log=JsonLinesLog(root / "logs"),
        control=SupervisorClient(root),
        facts=LocalHostFacts(root),
        inference=HttpInferenceClient(),
        state_dir=root,
    )
