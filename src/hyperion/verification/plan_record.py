"""The checklist's third part: what people agreed on, as deployment.json records it."""

from __future__ import annotations

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.digest import short
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.ports import Host


def check_records(host: Host, config: DeploymentConfig, active: Revision | None) -> tuple[Finding, ...]:
    """Window, rollback plan, documented steps, team: passed with what is recorded, else manual."""
    return (
        _recorded("plan.window", "deployment window", {"window": config.window}),
        _rollback_plan(host, config, active),
        _recorded("plan.steps", "deployment steps", {"notes": config.notes}),
        _recorded("plan.team", "deployment team", {"owner": config.owner, "team": config.team}),
        _recorded("plan.runbook", "runbook", {"runbook": config.runbook}),
    )


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


def _rollback_plan(host: Host, config: DeploymentConfig, active: Revision | None) -> Finding:
    check = "plan.rollback"
    if active is None:
        return Finding(
            check=check,
            outcome=Outcome.SKIPPED,
            summary="nothing to go back to",
            reason="nothing is active in this deployment yet",
        )
    events = host.ledger.events(str(config.name), (EventKind.BACKUP_CREATED,))
    of_active = [event.data.get("path") for event in events if event.data.get("digest") == active.digest]
    if of_active:
        summary = f"revision {active.number} ({active.version}) is backed up at {of_active[-1]}"
        return Finding(check=check, outcome=Outcome.PASSED, summary=summary, measured=of_active[-1])
    return Finding(
        check=check,
        outcome=Outcome.WARNED,
        summary=f"revision {active.number} ({active.version}, {short(active.digest)}) has no backup",
        reason="'hyperion rollback model' goes back to a backup",
        hint=f"hyperion backup model --name {config.name} --output backup/",
    )
