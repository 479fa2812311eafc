"""The stage for use cases of the lifecycle: real files, packages and store; everything else is faked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.usecases.backup import BackupSummary, backup_model
from hyperion.usecases.deploy import DeployResult, deploy_model
from hyperion.usecases.rollback import rollback_model
from tests.fakes.clock import FakeClock
from tests.fakes.control import FakeControl
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.log import InMemoryLog
from tests.fakes.machine import FakeEngine, FakeFacts, FakeSandbox
from tests.fakes.reporter import CollectingReporter
from tests.fakes.reports import InMemoryReportStore
from tests.packages import entries, write_package
from tests.partial_host import files_host


class Stage:
    """A host, and short words for what tests do on it.

    Attributes:
        folder: A folder of the user, beside the state.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "user"
        self.folder.mkdir()
        state = tmp_path / "state"
        self.clock = FakeClock()
        self.ledger = InMemoryLedger(self.clock)
        self.reports = InMemoryReportStore()
        self.log = InMemoryLog()
        self.facts = FakeFacts()
        self.sandbox = FakeSandbox()
        self.reporter = CollectingReporter()
        self.store = LocalPackageStore(state, AtomicFiles())
        self.control = FakeControl(self.ledger, self.store, LocalPackages(), self.clock)
        self.host = files_host(
            state,
            clock=self.clock,
            ledger=self.ledger,
            reports=self.reports,
            log=self.log,
            facts=self.facts,
            engine=FakeEngine(),
            sandbox=self.sandbox,
            store=self.store,
            control=self.control,
        )

    def package(self, seed: int = 0, name: str = "tiny", **fields: Any) -> Path:
        """A package file; another seed gives another digest."""
        return write_package(self.folder / f"{name}{seed}.hyperion", entries(seed), name=name, **fields)

    def deploy(self, seed: int = 0, *, version: str = "1.0.0", name: str = "tiny", **options: Any) -> DeployResult:
        """Deploy a package of that seed, with the config in ``options``, else the default one."""
        config = options.pop("config", DeploymentConfig())
        return deploy_model(self.host, self.package(seed, name, version=version), config, self.reporter, **options)

    def backup(self, name: str = "tiny", **options: Any) -> BackupSummary:
        return backup_model(self.host, name, self.folder / "backup", self.reporter, **options)

    def roll_back(self, name: str = "tiny", reason: str = "p95 doubled") -> DeployResult:
        return rollback_model(self.host, self.folder / "backup" / name, reason, self.reporter)

    def active(self, name: str = "tiny") -> Revision | None:
        number = next(known.active_revision for known in self.ledger.deployments() if known.name == name)
        return None if number is None else self.ledger.revision(name, number)

    def files(self) -> dict[str, bytes]:
        """Every file of user and state by its path, to see that nothing changed."""
        root = self.folder.parent
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
