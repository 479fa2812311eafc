"""A deploy keeps to its window by the clocks of the window's zone; a rollback comes when it must."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.stage import Stage

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.usecases.deploy import DeployResult
from hyperion.verification.plan_window import check_window

FRIDAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When the stage's clock starts."""
OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "16:00", "zone": "Europe/Berlin"}
NIGHT = {"days": ["thu"], "from": "22:00", "to": "05:00", "zone": "UTC"}


def config(window: Any) -> DeploymentConfig:
    import json

    return DeploymentConfig.model_validate_json(json.dumps({"window": window}))


def window(result: DeployResult) -> Finding:
    return next(finding for finding in result.checklist.findings if finding.check == "plan.window")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_inside_the_window_a_deploy_goes_on(stage: Stage) -> None:
    result = stage.deploy(config=config(NIGHT))

    assert result.promoted
    assert window(result).summary == ("Fri 2026-01-02 03:04 UTC is within the deployment window: thu 22:00-05:00 UTC")


def test_outside_it_is_denied_and_told_when_the_window_opens(stage: Stage) -> None:
    result = stage.deploy(config=config(OFFICE))

    assert [finding.check for finding in result.denied_by] == ["plan.window"]
    assert window(result).summary == "Fri 2026-01-02 04:04 CET is outside the deployment window"
    assert window(result).reason == ("agreed on: mon-fri 09:00-16:00 Europe/Berlin; it opens Fri 2026-01-02 09:00 CET")
    assert stage.ledger.deployments() == ()


def test_one_of_several_windows_is_enough(stage: Stage) -> None:
    assert stage.deploy(config=config([OFFICE, NIGHT])).promoted


def test_an_override_lets_it_pass_and_is_recorded_with_the_revision_and_in_the_ledger(stage: Stage) -> None:
    result = stage.deploy(config=config(OFFICE), override="the answers are wrong")

    assert result.promoted
    assert window(result).outcome is Outcome.WARNED
    assert str(window(result).reason).endswith("(overridden: the answers are wrong)")
    (created,) = stage.ledger.events("tiny", (EventKind.REVISION_CREATED,))
    assert created.data["override"] == "the answers are wrong"


def test_a_zone_that_the_host_does_not_know_denies(stage: Stage) -> None:
    result = stage.deploy(config=config(OFFICE | {"zone": "Mars/Olympus"}))

    assert not result.allowed
    assert window(result).reason == "this host knows no zone 'Mars/Olympus'"


def test_what_would_change_nothing_passes_at_any_time(stage: Stage) -> None:
    stage.deploy(config=config(OFFICE), override="first")

    again = stage.deploy(config=config(OFFICE))

    assert (again.allowed, again.unchanged, again.denied_by) == (True, True, ())
    assert [finding.check for finding in again.warnings if finding.check == "plan.window"] == ["plan.window"]


def test_what_does_not_serve_any_more_waits_for_the_window(stage: Stage) -> None:
    stage.deploy(config=config(OFFICE), override="first")
    stage.control.running = False

    result = stage.deploy(config=config(OFFICE))

    assert not result.allowed
    assert window(result).hint == "wait for it, or let it pass with --override REASON"


def test_a_rollback_outside_the_window_is_only_warned(stage: Stage) -> None:
    stage.deploy(config=config(OFFICE), override="first")
    stage.backup()

    result = stage.roll_back()

    assert result.promoted
    assert window(result).outcome is Outcome.WARNED


def test_no_window_is_manual_and_names_its_field() -> None:
    found = check_window(DeploymentConfig(), None, FRIDAY)

    assert (found.outcome, found.entry) == (Outcome.MANUAL, "window")


def test_words_are_shown_and_left_to_people(stage: Stage) -> None:
    result = stage.deploy(config=config("Sunday night, after the call"))

    assert result.promoted
    assert window(result).outcome is Outcome.MANUAL
    assert window(result).summary == "deployment window, in words: Sunday night, after the call"


@pytest.mark.parametrize("other", [None, "whenever we like", NIGHT])
def test_outside_the_active_revisions_window_a_deploy_that_changes_it_is_denied(stage: Stage, other: Any) -> None:
    stage.deploy(config=config(OFFICE), override="first")

    result = stage.deploy(1, version="1.1.0", config=config(other))

    assert [finding.check for finding in result.denied_by] == ["plan.window"]
    assert str(window(result).reason).startswith("revision 1 has it, and it holds until it is changed; agreed on: mon")


def test_a_window_may_be_left_out_inside_it_or_with_a_reason(stage: Stage) -> None:
    stage.deploy(config=config(NIGHT))
    assert stage.deploy(1, version="1.1.0", config=config(None)).promoted
    stage.deploy(2, version="1.2.0", config=config(OFFICE), override="back to office hours")

    assert stage.deploy(3, version="1.3.0", config=config(None), override="nobody needs it any more").promoted
