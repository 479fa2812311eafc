"""Whatever happens to a deployment, the revisions that the ledger points to are those that its events made so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.values import make_draft, make_revision

from hyperion.domain.event import EventKind
from hyperion.domain.pointers import MOVING, astray
from hyperion.serving.record import begin_rollout

STEPS = st.lists(
    st.sampled_from(["deploy", "abort", "flip", "failed flip", "stop", "unfinished", "crash"]), max_size=12
)


class History:
    """What deploys, rollbacks and stops write, in the order in which a supervisor writes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ledger = InMemoryLedger(FakeClock())
        self.count = 0
        self.active: int | None = None

    def begin(self, *, flips: bool = False) -> int:
        self.count += 1
        revision = make_revision(self.count, self.name, replaces=self.active)
        begin_rollout(self.ledger, revision, flips=flips)
        return self.count

    def abort(self, number: int) -> None:
        draft = make_draft(EventKind.ROLLOUT_ABORTED, self.name, revision=number)
        self.ledger.restore_desired(self.name, self.active, draft)

    def take(self, step: str) -> None:
        match step:
            case "deploy":
                number = self.begin()
                draft = make_draft(EventKind.ROLLOUT_PROMOTED, self.name, revision=number)
                self.ledger.promote(self.name, number, draft)
                self.active = number
            case "abort":
                self.abort(self.begin())
            case "flip":
                self.active = self.begin(flips=True)
            case "failed flip":
                self.abort(self.begin(flips=True))
            case "stop" if self.count:
                self.ledger.stop(self.name, make_draft(EventKind.DEPLOYMENT_STOPPED, self.name))
                self.active = None
            case "unfinished":
                self.begin()
            case "crash":
                self.ledger.append(make_draft(EventKind.WORKER_EXITED, self.name))


@given(STEPS)
def test_pointers_follow_from_the_events_that_moved_them(steps: list[str]) -> None:
    history = History("shop")

    for step in steps:
        history.take(step)

        assert astray(history.ledger.deployments(), history.ledger.events(kinds=MOVING)) == {}


@given(STEPS)
def test_a_deployment_that_was_taken_out_is_missed(steps: list[str]) -> None:
    history = History("shop")
    history.take("deploy")
    for step in steps:
        history.take(step)

    assert list(astray((), history.ledger.events(kinds=MOVING))) == ["shop"]
