"""The checklist's question on time: is a change agreed on for now?"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.window import TimeWindow

WINDOW = "plan.window"


def check_window(config: DeploymentConfig, active: Revision | None, now: datetime) -> Finding:
    """Whether ``now`` (with a zone) is within the deployment window; manual where there is none, or only words.

    The window of the active revision holds for the deploy that changes it too: else whoever leaves it out of the
    document would deploy at any time, and nobody would read why.
    """
    if active is not None and active.config.windows and active.config.windows != config.windows:
        until_now = _held(active.config.windows, now)
        if until_now.outcome is Outcome.FAILED:
            return _kept(until_now, active)
    if config.window is None:
        return Finding(
            check=WINDOW,
            outcome=Outcome.MANUAL,
            summary="deployment window: not recorded",
            reason="record it as 'window' in deployment.json",
            entry="window",
        )
    if isinstance(config.window, str):
        return Finding(
            check=WINDOW,
            outcome=Outcome.MANUAL,
            summary=f"deployment window, in words: {config.window}",
            reason="a person compares it with the clock; 'window' with days, from, to and zone is held by this check",
            measured=config.window,
            entry="window",
        )
    return _held(config.windows, now)


def _held(windows: tuple[TimeWindow, ...], now: datetime) -> Finding:
    agreed = "; ".join(window.describe() for window in windows)
    openings: list[datetime] = []
    for window in windows:
        try:
            zone = ZoneInfo(window.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return _unknown_zone(window.zone, agreed)
        local = now.astimezone(zone)
        if window.covers(local):
            summary = f"{_told(local)} is within the deployment window: {window.describe()}"
            return Finding(
                check=WINDOW, outcome=Outcome.PASSED, summary=summary, measured=local.isoformat(), limit=agreed
            )
        if (opening := window.next_opening(now, zone)) is not None:
            openings.append(opening)
    shown = now.astimezone(ZoneInfo(windows[0].zone))
    opens = f"it opens {_told(min(openings))}" if openings else "it does not open in the next two weeks"
    return Finding(
        check=WINDOW,
        outcome=Outcome.FAILED,
        summary=f"{_told(shown)} is outside the deployment window",
        reason=f"agreed on: {agreed}; {opens}",
        measured=shown.isoformat(),
        limit=agreed,
        entry="window",
        hint="wait for it, or let it pass with --override REASON",
    )


def _kept(found: Finding, active: Revision) -> Finding:
    """The active revision's window denies, in words that say whose it is."""
    reason = f"revision {active.number} has it, and it holds until it is changed; {found.reason}"
    return found.model_copy(update={"reason": reason, "hint": "change it within it, or with --override REASON"})


def _unknown_zone(name: str, agreed: str) -> Finding:
    return Finding(
        check=WINDOW,
        outcome=Outcome.FAILED,
        summary=f"the deployment window cannot be held against the clock: {agreed}",
        reason=f"this host knows no zone {name!r}",
        limit=agreed,
        entry="window",
        hint="write an IANA zone, such as Europe/Berlin, or install the package tzdata",
    )


def _told(local: datetime) -> str:
    """``Tue 2026-03-03 06:12 CET``."""
    return f"{local:%a %Y-%m-%d %H:%M %Z}"
