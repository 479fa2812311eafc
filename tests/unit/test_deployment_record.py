"""What a deployment writes to the ledger, also where the ledger cannot be written."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger
from tests.rollout_kit import verdict

from hyperion.domain.action import Abort, GoBack
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.event import Event, EventDraft, EventKind
from hyperion.domain.evidence import VerdictKind
from hyperion.errors import HostError
from hyperion.serving.record import DeploymentRecord


class FullLedger(InMemoryLedger):
    """A ledger whose disk is full."""

    def append(self, draft: EventDraft) -> Event:
        raise HostError("no space left")

    def promote(self, deployment: str, revision: int, draft: EventDraft) -> Event:
        raise HostError("no space left")

    def restore_desired(self, deployment: str, revision: int | None, draft: EventDraft) -> Event:
        raise HostError("no space left")


def revision(number: int) -> Revision:
    return Revision(
        deployment="shop", number=number, digest="sha256:" + "0" * 64, model="m", version="1.0.0",
        config=DeploymentConfig(name="shop"), origin=Origin.DEPLOY, reason=None, replaces=None, actor="me",
        created_at=datetime.now(UTC),
    )  # fmt: skip


def test_a_promotion_moves_the_pointer_and_names_what_it_replaced() -> None:
    ledger = InMemoryLedger(FakeClock())
    ledger.create_revision(revision(1))
    DeploymentRecord(ledger, "shop").promoted(1, None, 250, None)
    assert ledger.deployments()[0].active_revision == 1
    event = ledger.events()[-1]
    assert (event.kind, event.data) == (EventKind.ROLLOUT_PROMOTED, {"from": None, "duration_ms": 250})


@pytest.mark.parametrize(("stopped", "desired"), [(False, 1), (True, None)])
def test_an_abort_brings_back_what_is_active_unless_the_deployment_was_stopped(
    stopped: bool, desired: int | None
) -> None:
    ledger = InMemoryLedger(FakeClock())
    record = DeploymentRecord(ledger, "shop")
    ledger.create_revision(revision(1))
    record.promoted(1, None, 1, None)
    ledger.create_revision(revision(2))
    if stopped:
        ledger.stop("shop", EventDraft(kind=EventKind.DEPLOYMENT_STOPPED, deployment="shop", actor="me"))
    assert record.aborted(Abort(2, "NaN"), 1, 5, stopped=stopped) is None
    assert ledger.deployments()[0].desired_revision == desired
    assert ledger.events()[-1].data == {"reason": "NaN", "duration_ms": 5}


def test_a_full_disk_refuses_a_promotion_is_told_of_an_abort_and_only_logged_of_a_note(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = DeploymentRecord(FullLedger(FakeClock()), "shop")
    with pytest.raises(HostError):
        record.promoted(1, None, 1, None)
    assert "no space left" in str(record.aborted(Abort(1, "NaN"), None, 1, stopped=False))
    with caplog.at_level(logging.WARNING):
        record.note(EventKind.WORKER_EXITED, 1, worker="r1-w0")
    assert "worker.exited" in caplog.text


def test_what_the_gates_decided_is_kept_with_what_they_saw() -> None:
    ledger = InMemoryLedger(FakeClock())
    breach = verdict(VerdictKind.BREACH, "errors 4 %")
    DeploymentRecord(ledger, "shop").rolled_back(GoBack(2, 1, breach.reason, breach))
    event = ledger.events()[-1]
    assert (event.kind, event.revision) == (EventKind.ROLLOUT_ROLLED_BACK, 2)
    assert (event.data["to"], event.data["reason"]) == (1, "errors 4 %")
    assert event.data["evidence"] == breach.evidence.model_dump(mode="json")
