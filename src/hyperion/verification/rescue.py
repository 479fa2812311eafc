"""The checklist of a way back to what this host served before: short, for traffic waits for it."""

from __future__ import annotations

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome, Report, Subject
from hyperion.format.package import PackageReader
from hyperion.ports import Host, Reporter
from hyperion.verification.integrity import check_digests
from hyperion.verification.model import LOAD
from hyperion.verification.plan_environment import check_monitoring
from hyperion.verification.plan_record import check_records


def check_rescue(
    host: Host,
    package: PackageReader,
    config: DeploymentConfig,
    active: Revision | None,
    reporter: Reporter,
    signing: Finding,
) -> Report:
    """What can deny a stored package the place that it had: damage, and the trust policy. All else its workers show.

    Args:
        host: This host.
        package: In its store.
        config: Complete.
        active: What the deployment serves now, None where nothing.
        reporter: Where progress goes.
        signing: What the trust policy says.
    """
    findings = (
        *check_digests(host, package, reporter, recall=True),
        signing,
        _PROVEN_BY_WORKERS,
        check_monitoring(host, config, active),
        *check_records(host, config, active, rescue=True),
    )
    manifest = package.manifest
    subject = Subject(name=manifest.name, version=manifest.version, digest=package.digest, source="the store")
    return Report(kind="checklist", subject=subject, created_at=host.clock.now(), findings=findings)


_PROVEN_BY_WORKERS = Finding(
    check=LOAD,
    outcome=Outcome.SKIPPED,
    summary="the model is not run before its workers run it",
    reason="it was served here; its workers load it and answer its golden requests before they take traffic",
)
