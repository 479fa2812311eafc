"""What a starting supervisor is to do about what the ledger says and who lives."""

from __future__ import annotations

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.rollout_policy import Gates
from hyperion.serving.reconciliation import Found, reconcile

WATCH_S = 60.0


class Host:
    """A ledger that a supervisor left."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = InMemoryLedger(self.clock)

    def deploy(self, origin: Origin = Origin.DEPLOY, *, promoted: bool = True) -> int:
        numbers = [revision.number for revision in self.ledger.revisions("shop")]
        number = len(numbers) + 1
        config = DeploymentConfig(name="shop", gates=Gates(watch_s=WATCH_S))
        self.ledger.create_revision(
            Revision(
                deployment="shop", number=number, digest="sha256:" + "0" * 64, model="m", version="1.0.0",
                config=config, origin=origin, reason=None, replaces=number - 1 or None, actor="me",
                created_at=self.clock.now(),
            )
        )  # fmt: skip
        if promoted:
            self.ledger.promote("shop", number, self.draft(EventKind.ROLLOUT_PROMOTED, number))
        return number

    def draft(self, kind: EventKind, revision: int, **data: str) -> EventDraft:
        return EventDraft(kind=kind, deployment="shop", revision=revision, actor="me", data=dict(data))

    def reconcile(self) -> Found:
        (found,) = reconcile(self.ledger, [], "me", self.clock.now())
        return found

    @property
    def last(self) -> EventKind:
        return self.ledger.events()[-1].kind


@pytest.fixture
def host() -> Host:
    found = Host()
    found.deploy()
    return found


def test_a_rollout_that_was_not_promoted_is_reverted(host: Host) -> None:
    host.deploy(promoted=False)
    found = host.reconcile()
    assert (found.revision.number, found.desired) == (1, True)
    assert host.last is EventKind.ROLLOUT_ABORTED
    assert host.ledger.deployments()[0].desired_revision == 1


def test_a_canary_that_was_reverted_is_said_to_be_one_with_its_share(host: Host) -> None:
    host.deploy(promoted=False)
    host.ledger.append(
        EventDraft(kind=EventKind.ROLLOUT_CANARY, deployment="shop", revision=2, actor="me", data={"share": 0.2})
    )
    reverted = str(host.reconcile().reverted)
    assert "revision 2 was reverted, not finished" in reverted
    assert "a canary with 20% of the requests" in reverted
    assert host.ledger.events()[-1].data["reason"] == reverted


def test_nothing_is_said_to_be_reverted_where_nothing_was(host: Host) -> None:
    assert host.reconcile().reverted is None


def test_a_first_rollout_that_was_not_promoted_leaves_nothing_to_serve() -> None:
    host = Host()
    host.deploy(promoted=False)
    assert reconcile(host.ledger, [], "me", host.clock.now()) == ()


def test_a_deployment_that_was_stopped_is_left_alone(host: Host) -> None:
    host.ledger.stop("shop", host.draft(EventKind.DEPLOYMENT_STOPPED, 1))
    assert reconcile(host.ledger, [], "me", host.clock.now()) == ()


def test_a_watch_goes_on_for_what_is_left_of_it(host: Host) -> None:
    host.deploy()
    host.clock.advance(20)
    found = host.reconcile()
    assert found.watch_s == WATCH_S - 20


def test_a_watch_whose_time_is_over_is_ended_in_the_ledger(host: Host) -> None:
    host.deploy()
    host.clock.advance(WATCH_S)
    assert host.reconcile().watch_s == 0
    assert host.last is EventKind.ROLLOUT_FINISHED
    assert host.reconcile().watch_s == 0
    assert [event.kind for event in host.ledger.events()].count(EventKind.ROLLOUT_FINISHED) == 1


def test_a_clock_that_went_back_makes_no_watch_longer(host: Host) -> None:
    host.deploy()
    host.clock.advance(-86_400)
    assert host.reconcile().watch_s == WATCH_S


def test_a_watch_that_ended_is_not_begun_again(host: Host) -> None:
    host.deploy()
    host.ledger.append(host.draft(EventKind.ROLLOUT_FINISHED, 2))
    assert host.reconcile().watch_s == 0


def test_a_way_back_that_was_begun_is_gone_through_with(host: Host) -> None:
    host.deploy()
    host.ledger.append(host.draft(EventKind.ROLLOUT_ROLLED_BACK, 2, reason="errors doubled"))
    found = host.reconcile()
    assert (found.revision.number, found.leaves) == (2, "errors doubled")


def test_a_way_back_that_was_recorded_and_not_promoted_is_begun_anew(host: Host) -> None:
    host.deploy()
    host.ledger.append(host.draft(EventKind.ROLLOUT_ROLLED_BACK, 2, reason="errors doubled"))
    host.deploy(Origin.ROLLBACK, promoted=False)
    found = host.reconcile()
    assert (found.revision.number, found.leaves) == (2, "errors doubled")


def test_nothing_goes_back_from_a_way_back(host: Host) -> None:
    host.deploy(Origin.ROLLBACK)
    found = host.reconcile()
    assert (found.watch_s, found.leaves) == (0, None)


def test_the_first_revision_is_not_watched(host: Host) -> None:
    found = host.reconcile()
    assert found.watch_s == 0
