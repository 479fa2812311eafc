"""The checklist's third part: what people agreed on, as deployment.json records it."""

from __future__ import annotations

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.ports import Host
from hyperion.verification.plan_drain import check_drain
from hyperion.verification.plan_rollback import check_rollback_plan
from hyperion.verification.plan_window import check_window


def check_records(
    host: Host, config: DeploymentConfig, active: Revision | None, *, rescue: bool = False
) -> tuple[Finding, ...]:
    """Window, rollback plan, time to finish, documented steps, team, environment, runbook.

    What has a probe is held, else it is manual. A rescue is only warned: it comes when it must.
    """
    held = check_window(config, active, host.clock.now()), check_rollback_plan(host, config, active)
    return (
        *(_warned(finding) if rescue else finding for finding in held),
        check_drain(config),
        _recorded("plan.steps", "deployment steps", {"notes": config.notes}),
        _recorded("plan.team", "deployment team", {"owner": config.owner, "team": config.team}),
        _recorded("plan.environment", "environment", {"environment": config.environment}),
        _recorded("plan.runbook", "runbook", {"runbook": config.runbook}),
    )


def _warned(finding: Finding) -> Finding:
    if finding.outcome is not Outcome.FAILED:
        return finding
    return finding.model_copy(update={"outcome": Outcome.WARNED, "hint": None})


def _recorded(check: str, what: str, fields: dict[str, str | None]) -> Finding:
    """Passed where any of these fields of deployment.json has a value."""
    values = {name: value for name, value in fields.items() if value}
    if values:
        return Finding(
            check=check,
            outcome=Outcome.PASSED,
            summary=f"{what}: {', '.join(values.values())}",
            measured=dict(values),
            entry=next(iter(values)),
        )
    names = " or ".join(repr(name) for name in fields)
    return Finding(
        check=check,
        outcome=Outcome.MANUAL,
        summary=f"{what}: not recorded",
        reason=f"record it as {names} in deployment.json",
        entry=next(iter(fields)),
    )
