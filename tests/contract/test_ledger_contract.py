"""What every ledger does, in memory and in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.values import make_draft, make_revision

from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.domain.event import GENESIS, START, EventDraft, EventKind
from hyperion.errors import ConflictError, NotFoundError
from hyperion.ports import Ledger


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "memory":
        yield InMemoryLedger(clock)
        return
    real = SqliteLedger(tmp_path / "ledger.db", clock)
    yield real
    real.close()


def test_a_new_ledger_is_empty_and_whole(ledger: Ledger) -> None:
    assert ledger.head() == START
    assert ledger.events() == ()
    assert ledger.deployments() == ()
    assert ledger.revisions("mlp") == ()
    assert ledger.first_broken() is None


def test_an_event_keeps_what_its_draft_says_and_is_chained(ledger: Ledger, clock: FakeClock) -> None:
    first = ledger.append(make_draft(data={"pid": 7, "ratio": 0.25, "text": "\x1b[31m<b>|ü\x00"}, revision=3))
    clock.advance(1.5)
    second = ledger.append(make_draft(EventKind.WORKER_EXITED))

    assert (first.sequence, first.previous) == (1, GENESIS)
    assert (second.sequence, second.previous) == (2, first.hash)
    assert second.at == clock.now()
    assert ledger.events() == (first, second)
    assert (ledger.head().sequence, ledger.head().hash) == (2, second.hash)
    assert ledger.first_broken() is None


def test_events_are_chosen_by_deployment_kind_and_place(ledger: Ledger) -> None:
    ready = ledger.append(make_draft(EventKind.WORKER_READY, "a"))
    exited = ledger.append(make_draft(EventKind.WORKER_EXITED, "a"))
    other = ledger.append(make_draft(EventKind.WORKER_READY, "b"))
    started = ledger.append(make_draft(EventKind.SUPERVISOR_STARTED, None))

    assert ledger.events("a") == (ready, exited)
    assert ledger.events(kinds=[EventKind.WORKER_READY]) == (ready, other)
    assert ledger.events("a", [EventKind.WORKER_EXITED]) == (exited,)
    assert ledger.events(since=2) == (other, started)
    assert ledger.events(kinds=[]) == ()
    assert ledger.events(since=4) == ()


def test_an_event_that_only_a_later_hyperion_knows_is_read_as_it_is_and_the_chain_is_whole(ledger: Ledger) -> None:
    known = ledger.append(make_draft())
    kind = "rollout.mirrored"
    draft = EventDraft.model_construct(kind=kind, deployment="mlp", revision=2, actor="alice", data={"share": 0.5})  # type: ignore[arg-type]
    later = ledger.append(draft)

    assert ledger.events() == (known, later)
    assert (later.kind, later.data) == (kind, {"share": 0.5})
    assert ledger.events("mlp", [EventKind.WORKER_READY]) == (known,)
    assert ledger.first_broken() is None
    assert ledger.append(make_draft()).previous == later.hash


def test_a_created_revision_is_desired_but_not_active(ledger: Ledger) -> None:
    revision = make_revision(1)

    event = ledger.create_revision(revision)

    (deployment,) = ledger.deployments()
    assert ledger.revision("mlp", 1) == revision
    assert (event.kind, event.deployment, event.revision) == (EventKind.REVISION_CREATED, "mlp", 1)
    assert (deployment.name, deployment.desired_revision, deployment.active_revision) == ("mlp", 1, None)
    assert deployment.created_at == event.at


def test_revisions_are_listed_oldest_first(ledger: Ledger) -> None:
    made = [make_revision(number) for number in range(1, 12)]
    for revision in made:
        ledger.create_revision(revision)
    ledger.create_revision(make_revision(1, "other"))

    assert ledger.revisions("mlp") == tuple(made)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_revision_that_is_not_the_next_is_refused_and_nothing_is_recorded(ledger: Ledger, number: int) -> None:
    ledger.create_revision(make_revision(1))
    head = ledger.head()

    with pytest.raises(ConflictError) as refusal:
        ledger.create_revision(make_revision(number))

    assert refusal.value.code == "revision.not_next"
    assert ledger.head() == head
    assert len(ledger.revisions("mlp")) == 1


def test_a_promoted_revision_is_active_and_remembered(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))

    event = ledger.promote("mlp", 1, make_draft(EventKind.ROLLOUT_PROMOTED, revision=1))

    (deployment,) = ledger.deployments()
    assert event.kind is EventKind.ROLLOUT_PROMOTED
    assert (deployment.desired_revision, deployment.active_revision, deployment.last_active_revision) == (1, 1, 1)


def test_a_revision_that_is_active_at_once_is_so_with_all_that_follows_it(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))
    started, promoted = (
        make_draft(kind, revision=2) for kind in (EventKind.ROLLOUT_STARTED, EventKind.ROLLOUT_PROMOTED)
    )

    event = ledger.create_revision(make_revision(2), started, promoted, active=True)

    found = ledger.deployment("mlp")
    kinds = [EventKind.REVISION_CREATED, EventKind.ROLLOUT_STARTED, EventKind.ROLLOUT_PROMOTED]
    assert found is not None
    assert (found.desired_revision, found.active_revision, found.last_active_revision) == (2, 2, 2)
    assert [found.kind for found in ledger.events(since=event.sequence - 1)] == kinds
    assert ledger.first_broken() is None


def test_a_revision_that_is_refused_brings_nothing_that_follows_it(ledger: Ledger) -> None:
    head = ledger.head()

    with pytest.raises(ConflictError):
        ledger.create_revision(make_revision(3), make_draft(EventKind.ROLLOUT_STARTED, revision=3), active=True)

    assert ledger.head() == head
    assert ledger.deployment("mlp") is None


def test_a_flip_that_is_aborted_leaves_active_what_was(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.create_revision(make_revision(number), active=True)

    ledger.restore_desired("mlp", 1, make_draft(EventKind.ROLLOUT_ABORTED, revision=2))

    found = ledger.deployment("mlp")
    assert found is not None
    assert (found.desired_revision, found.active_revision, found.last_active_revision) == (1, 1, 1)


def test_the_latest_number_is_each_deployment_s_own(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.create_revision(make_revision(number))
    ledger.create_revision(make_revision(1, "other"))

    assert [ledger.latest_number(name) for name in ("mlp", "other", "nobody")] == [2, 1, 0]


def test_tidying_changes_nothing(ledger: Ledger) -> None:
    ledger.tidy()
    for _ in range(40):
        ledger.append(make_draft())
    ledger.tidy()

    assert len(ledger.events()) == 40
    assert ledger.first_broken() is None


def test_after_an_abort_what_is_active_is_desired_again(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))
    ledger.promote("mlp", 1, make_draft(EventKind.ROLLOUT_PROMOTED, revision=1))
    ledger.create_revision(make_revision(2))

    ledger.restore_desired("mlp", 1, make_draft(EventKind.ROLLOUT_ABORTED, revision=2))

    (deployment,) = ledger.deployments()
    assert (deployment.desired_revision, deployment.active_revision) == (1, 1)


def test_after_the_abort_of_a_first_rollout_nothing_is_desired(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))

    ledger.restore_desired("mlp", None, make_draft(EventKind.ROLLOUT_ABORTED, revision=1))

    (deployment,) = ledger.deployments()
    assert (deployment.desired_revision, deployment.active_revision, deployment.last_active_revision) == (None,) * 3


def test_a_stopped_deployment_remembers_what_was_active_last(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))
    ledger.promote("mlp", 1, make_draft(EventKind.ROLLOUT_PROMOTED, revision=1))

    ledger.stop("mlp", make_draft(EventKind.DEPLOYMENT_STOPPED))

    (deployment,) = ledger.deployments()
    assert (deployment.desired_revision, deployment.active_revision, deployment.last_active_revision) == (None, None, 1)


def test_a_deployment_goes_on_counting_after_a_stop(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))
    ledger.stop("mlp", make_draft(EventKind.DEPLOYMENT_STOPPED))

    ledger.create_revision(make_revision(2))

    (deployment,) = ledger.deployments()
    assert deployment.desired_revision == 2


def test_what_does_not_exist_is_not_found_and_nothing_is_recorded(ledger: Ledger) -> None:
    ledger.create_revision(make_revision(1))
    head = ledger.head()

    with pytest.raises(NotFoundError) as revision:
        ledger.revision("mlp", 2)
    with pytest.raises(NotFoundError) as promoted:
        ledger.promote("mlp", 2, make_draft(EventKind.ROLLOUT_PROMOTED))
    with pytest.raises(NotFoundError) as restored:
        ledger.restore_desired("mlp", 2, make_draft(EventKind.ROLLOUT_ABORTED))
    with pytest.raises(NotFoundError) as stopped:
        ledger.stop("nobody", make_draft(EventKind.DEPLOYMENT_STOPPED))
    with pytest.raises(NotFoundError) as absent:
        ledger.restore_desired("nobody", None, make_draft(EventKind.ROLLOUT_ABORTED))

    assert {error.value.code for error in (revision, promoted, restored)} == {"revision.not_found"}
    assert {error.value.code for error in (stopped, absent)} == {"deployment.not_found"}
    assert ledger.head() == head
    assert ledger.deployments()[0].active_revision is None


def test_deployments_are_listed_by_name(ledger: Ledger) -> None:
    for name in ("b", "a", "C"):
        ledger.create_revision(make_revision(1, name))

    assert [deployment.name for deployment in ledger.deployments()] == ["C", "a", "b"]
