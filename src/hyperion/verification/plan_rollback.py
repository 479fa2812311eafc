"""The checklist's question on the way back: where would a rollback go, and is that known to work?"""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.backup import BACKUP_FILE
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.digest import short
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.rollout_plan import plan_rollout
from hyperion.ports import Host

ROLLBACK = "plan.rollback"


def check_rollback_plan(host: Host, config: DeploymentConfig, active: Revision | None) -> Finding:
    """Whether a proven backup of the active revision is at hand, or its workers stay warm behind the new ones."""
    if active is None:
        return Finding(
            check=ROLLBACK,
            outcome=Outcome.SKIPPED,
            summary="there is nothing to go back to",
            reason="nothing is active in this deployment yet",
        )
    subject = f"revision {active.number} ({active.version}, {short(active.digest)})"
    backup, fault = _proven_backup(host, active)
    if backup is not None:
        summary = f"{subject} is backed up, and was restored on trial: {backup}"
        return Finding(check=ROLLBACK, outcome=Outcome.PASSED, summary=summary, measured={"backup": backup})
    moves = config.serve.address != active.config.serve.address
    warm_s = plan_rollout(config, moves=moves).warm_s
    if warm_s > 0:
        summary = f"{subject} stays loaded for {warm_s:g} s after the switch: within that, a rollback is a flip"
        return Finding(check=ROLLBACK, outcome=Outcome.PASSED, summary=summary, measured={"warm_s": warm_s})
    return Finding(
        check=ROLLBACK,
        outcome=Outcome.FAILED,
        summary=f"{subject} has no proven backup, and does not stay loaded after the switch",
        reason=f"{fault}; {_why_not_warm(config, moves=moves)}",
        hint=f"'hyperion backup model --name {config.name} --output backup/', or let it pass with --override REASON",
    )


def _proven_backup(host: Host, active: Revision) -> tuple[str | None, str]:
    """The newest backup of the active package that was restored on trial and is still there; else None, and why."""
    kinds = (EventKind.BACKUP_CREATED, EventKind.BACKUP_REMOVED)
    kept: dict[str, bool] = {}
    for event in host.ledger.events(active.deployment, kinds):
        path = str(event.data.get("path"))
        kept.pop(path, None)
        if event.kind is EventKind.BACKUP_CREATED and event.data.get("digest") == active.digest:
            kept[path] = "golden" in event.data
    there = [path for path in reversed(kept) if _is_there(path)]
    proven = next((path for path in there if kept[path]), None)
    if proven is not None:
        return proven, ""
    if there:
        return None, f"the backup {there[0]} was never restored on trial"
    return None, f"the backup {next(reversed(kept))} is not there any more" if kept else "it was never backed up"


def _is_there(path: str) -> bool:
    try:
        return (Path(path) / BACKUP_FILE).is_file()
    except (OSError, ValueError):
        return False


def _why_not_warm(config: DeploymentConfig, *, moves: bool) -> str:
    if moves:
        return "'serve' moves it to another address, where its workers do not listen"
    return "the strategy 'recreate' stops it first" if config.strategy == "recreate" else "keep_warm_s is 0"
