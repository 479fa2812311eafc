"""The filled checklist is kept with its revision, and shown as the guide has it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.cli.render import make_console
from hyperion.cli.render_revision import show_revision
from hyperion.domain.checklist import GUIDE, fill_in
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.finding import Finding, Outcome, Report
from hyperion.errors import NotFoundError
from hyperion.usecases.history import read_revision

THE_GUIDE = """
Verify model package integrity; Check model version compatibility; Validate model performance; Test memory usage
Check system requirements; Verify dependencies; Configure memory settings; Set up monitoring
Schedule deployment window; Prepare rollback plan; Document deployment steps; Assign deployment team
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    checklist = stage.deploy().checklist
    stage.ledger.append(started(1, checklist))
    return stage


def started(revision: int, checklist: Report | None) -> EventDraft:
    """What the supervisor appends when a rollout begins."""
    data: dict[str, JsonValue] = {"checklist": None if checklist is None else checklist.model_dump(mode="json")}
    return EventDraft(kind=EventKind.ROLLOUT_STARTED, deployment="tiny", revision=revision, actor="alice", data=data)


def test_its_items_are_the_guides_in_the_guides_words() -> None:
    titles = [item.title for section in GUIDE for item in section.items]

    assert titles == [title for row in THE_GUIDE.strip().splitlines() for title in row.split("; ")]


def test_every_item_is_filled_in_and_every_check_has_its_item(stage: Stage) -> None:
    checklist = stage.deploy(1, version="1.1.0").checklist

    filled = fill_in(checklist.findings)

    assert [item.title for item in filled if not item.findings] == []
    assert {item.section for item in filled} == {section.title for section in GUIDE}


def test_a_check_beyond_the_guide_is_not_lost() -> None:
    odd = Finding(check="plan.moon", outcome=Outcome.PASSED, summary="waxing")

    assert fill_in([odd])[-1].findings == (odd,)


def test_a_revision_is_read_with_its_checklist_and_its_own_events(stage: Stage) -> None:
    second = stage.deploy(1, version="1.1.0")
    stage.ledger.append(started(2, second.checklist))

    record = read_revision(stage.host, "tiny", 2)

    assert record.checklist == second.checklist
    assert record.history.revision == second.revision
    assert {event.revision for event in record.events} == {2}


def test_what_the_supervisor_went_back_to_has_none(stage: Stage) -> None:
    stage.deploy(1, version="1.1.0")

    assert read_revision(stage.host, "tiny", 2).checklist is None


def test_a_revision_that_there_is_not_is_named(stage: Stage) -> None:
    with pytest.raises(NotFoundError) as refused:
        read_revision(stage.host, "tiny", 7)

    assert refused.value.code == "revision.not_found"


def test_the_page_holds_the_guides_items_and_what_is_left_to_people(stage: Stage) -> None:
    page = StringIO()

    show_revision(make_console(page), read_revision(stage.host, "tiny", 1))

    text = page.getvalue()
    assert "revision 1 of tiny: active" in text
    assert all(item.title in text for section in GUIDE for item in section.items)
    assert "record it as 'window' in deployment.json" in text
