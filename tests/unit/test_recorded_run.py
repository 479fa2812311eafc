"""The recorded run of the documentation: its page is of today's guide, and its arithmetic is right."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from benchmarks.recording.clients import Seen
from benchmarks.recording.page import MOST_PASSED, PAGE, PICTURE, page, shortened
from benchmarks.recording.picture import draw
from benchmarks.recording.record import Act, Recording, Typed, by_revision, faults, sliced
from examples.deployment_guide import DEPLOYMENT, ROLLBACK

GOOD = [Seen(0.1 * number, float(number), 1, "1.0.0", None) for number in range(1, 101)]
LOST = Seen(3.0, 2.0, None, None, "no answer")
WRONG = Seen(4.0, 2.0, 2, "1.1.0", "wrong values")


def act(seen: list[Seen], *, forgiven: str | None = None, held: int = 0, exit_code: int = 0) -> Act:
    typed = Typed("hyperion deploy model --input model.hyperion", 1.0, 0.5, exit_code, 0, "active\n")
    return Act("A title", "About.", forgiven, held, (typed,), by_revision(seen), faults(seen))


def well_formed(drawing: str) -> bool:
    return ET.fromstring(drawing).tag.endswith("svg")  # noqa: S314  (our own)


def recording(*acts: Act, seen: list[Seen]) -> Recording:
    return Recording("abc", ("a machine",), ("./prepare.sh",), 0.1, 10.0, acts, by_revision(seen), sliced(seen))


def test_the_page_holds_the_guides_deployment_and_rollback_in_its_order_and_to_the_letter() -> None:
    typed = [line.removeprefix("$ ") for line in PAGE.read_text().splitlines() if line.startswith("$ ")]
    guide = [*DEPLOYMENT, *ROLLBACK]
    assert [line for line in typed if line in guide] == guide


def test_the_page_of_the_documentation_has_no_fault() -> None:
    text = PAGE.read_text()
    assert ("**0 failed**" in text, "Not as it must be" in text) == (True, False)


def test_the_picture_of_the_documentation_is_well_formed() -> None:
    assert well_formed(PICTURE.read_text())


def test_what_a_revision_answered_is_counted_with_its_times_and_percentiles() -> None:
    (found,) = by_revision(GOOD)
    assert (found.answers, found.failed, found.p50_ms, found.p99_ms) == (100, 0, 50.0, 99.0)
    assert (found.first_s, found.last_s) == (pytest.approx(0.1), pytest.approx(10.0))


def test_every_answer_lies_in_one_slice_of_time() -> None:
    slices = sliced([*GOOD, LOST, WRONG])
    assert {key: sum(counts) for key, counts in slices.items()} == {"1": 100, "2": 1, "-": 1}
    assert len({len(counts) for counts in slices.values()}) == 1


@pytest.mark.parametrize(
    ("played", "faults_found"),
    [
        (act(GOOD), 0),
        (act([*GOOD, WRONG]), 1),
        (act([*GOOD, WRONG], forgiven="1.1.0"), 0),
        (act([*GOOD, LOST]), 1),
        (act([*GOOD, LOST], held=1), 0),
        (act(GOOD, exit_code=9), 1),
    ],
)
def test_an_act_is_held_to_what_may_fail_in_it(played: Act, faults_found: int) -> None:
    assert len(played.broken()) == faults_found


def test_what_is_not_as_it_must_be_stands_at_the_top_of_the_page() -> None:
    text = page(recording(act([*GOOD, WRONG]), seen=[*GOOD, WRONG]))
    assert "**Not as it must be:**" in text.partition("| Act |")[0]


def test_a_drawing_has_a_colour_for_each_revision_and_red_for_what_nobody_answered() -> None:
    seen = [*GOOD, LOST, WRONG]
    drawing = draw(recording(act(seen), seen=seen))
    assert well_formed(drawing)
    assert all(words in drawing for words in ("revision 1: 1.0.0", "revision 2: 1.1.0", "no answer"))


def test_many_checks_that_passed_are_shown_by_their_number_and_others_stay() -> None:
    checks = [f"  passed  check.{number}  well" for number in range(MOST_PASSED + 1)]
    failed = "  failed  check.x  not well"
    assert shortened("\n".join([*checks, failed])) == [f"  … {MOST_PASSED + 1} checks passed or skipped", failed]
    assert shortened("\n".join(checks[1:])) == checks[1:]


def test_long_outputs_keep_their_beginning_and_their_end() -> None:
    lines = shortened("\n".join(f"line {number}" for number in range(100)))
    assert (lines[0], lines[-1], "… 70 lines" in lines) == ("line 0", "line 99", True)


def test_output_cannot_end_the_block_of_code_that_shows_it() -> None:
    assert not any("```" in line for line in shortened("text\n```\n# heading"))
