"""docs/explanation/recorded-run.md and its picture, from a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from benchmarks.measure import ROOT
from benchmarks.recording.clients import BRIGHT, FAINT, KEEP_ALIVE, ONE_SHOT, PAUSE_S, TOLERANCE
from benchmarks.recording.picture import draw
from benchmarks.recording.record import Act, Answered, Recording, Typed

PAGE = ROOT / "docs" / "explanation" / "recorded-run.md"
PICTURE = ROOT / "docs" / "images" / "recorded-run.svg"
FIRST_LINES, LAST_LINES, LINE_LENGTH = 20, 10, 150
MOST_PASSED = 6
_CONTINUED = " " * 12
"""How a line begins that goes on with a check's."""

HEAD = """<!-- Written by benchmarks/recording (make recording): run it again, do not edit. -->

# A recorded run

The deployment guide's deployment and rollback sections, typed to the letter under load, and then what may go wrong: bad
candidates, and killed processes. This page is written by `make recording`, which takes a few minutes and can be
repeated anywhere; every figure is of the run below, none is a promise. [Rollouts](rollouts.md) says why all goes as it
does.
"""


def write(recording: Recording) -> None:
    """Write the page and its picture."""
    PICTURE.write_text(draw(recording))
    PAGE.write_text(page(recording))
    print(f"wrote {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")


def page(recording: Recording) -> str:
    """The whole page."""
    broken = recording.broken()
    verdict = ["**Not as it must be:**", "", *(f"- {words}" for words in broken), ""] if broken else []
    return "\n".join(
        [
            HEAD,
            *(f"- {fact}" for fact in (*recording.machine, f"Commit {recording.commit}")),
            "",
            *verdict,
            *_headline(recording),
            *_summary(recording),
            "![Answers a second by revision over time, with the commands marked](../images/recorded-run.svg)",
            "",
            "A number marks the start of the command that bears it below; the shade lasts as long as the command.",
            "",
            *_clients(recording),
            *_acts(recording),
            *_whole(recording),
        ]
    )


def _headline(recording: Recording) -> Iterator[str]:
    acts = recording.of_the_guide()
    requests, failed = sum(act.answers for act in acts), sum(act.failed for act in acts)
    yield f"While the guide's own commands ran, {requests:,} requests were sent: **{failed} failed**."
    yield ""


def _summary(recording: Recording) -> Iterator[str]:
    yield "| Act | Requests | Failed | Answered by revisions |"
    yield "| --- | --- | --- | --- |"
    for number, act in enumerate(recording.acts, 1):
        revisions = ", ".join(str(found.revision) for found in act.answered if found.revision is not None)
        yield f"| {number}. {act.title} | {act.answers:,} | {_failed(act)} | {revisions} |"
    total, failed = sum(act.answers for act in recording.acts), sum(act.failed for act in recording.acts)
    yield f"| All, {recording.lasted_s:.0f} s | {total:,} | {failed} | |"
    yield ""


def _failed(act: Act) -> str:
    """How many failed, and whose fault that was."""
    own = sum(found.failed for found in act.answered if found.version == act.forgiven_version is not None)
    if own and own == act.failed:
        return f"{own}, all answered by the bad candidate"
    lost = sum(found.failed for found in act.answered if found.revision is None)
    if lost and lost == act.failed:
        return f"{lost}, on connections of the killed worker (at most {act.held})"
    return str(act.failed)


def _clients(recording: Recording) -> Iterator[str]:
    yield "## Who sends"
    yield ""
    yield (
        f"{KEEP_ALIVE} clients keep their connection alive and {ONE_SHOT} open one for each request; each waits "
        f"{1000 * PAUSE_S:.0f} ms after an answer, none ever retries. They send {BRIGHT + FAINT} digits, "
        f"{FAINT} of them faint. A request fails where its answer does not come, has another status than 200, or a "
        f"probability that differs by more than {TOLERANCE:g} from what `hyperion.load_model` gives for the package of "
        f"the version that the answer names: the answers of 1.0.0 and 1.1.0 to the same digit are at least "
        f"{recording.distance:.2g} apart, so that neither can pass for the other. Latencies are the clients'; they, "
        "the commands and the service share the machine."
    )
    yield ""
    yield "Before they begin, in a copy of [examples/guide](../../examples/guide/README.md):"
    yield ""
    yield "```console"
    yield from (f"$ {command}" for command in recording.prepared)
    yield "```"
    yield ""
    yield (
        f"Output below is shortened by three rules: of more than {MOST_PASSED} checks in a row that passed or were "
        f"skipped stays their number; of more than {FIRST_LINES + LAST_LINES} lines stay the first {FIRST_LINES} and "
        f"the last {LAST_LINES}; a line ends after {LINE_LENGTH} characters. `~` is the run's folder. Process ids were "
        "looked up with `hyperion status`."
    )
    yield ""


def _acts(recording: Recording) -> Iterator[str]:
    command = 0
    for number, act in enumerate(recording.acts, 1):
        yield f"## {number}. {act.title}"
        yield ""
        yield act.about
        yield ""
        yield "```console"
        for typed in act.typed:
            command += 1
            yield from _typed(command, typed)
        yield "```"
        yield ""
        yield "What the clients saw meanwhile:"
        yield ""
        yield from _table(act.answered)
        yield from (f"- {count} x {_inline(fault)}" for fault, count in act.faults.items())
        yield from [""] if act.faults else []


def _typed(number: int, typed: Typed) -> Iterator[str]:
    yield f"# {number}: at {typed.began_s:.1f} s"
    yield f"$ {typed.command}"
    yield from shortened(typed.output)
    yield f"# {number}: exit code {typed.exit_code} after {typed.took_s:.2f} s"


def shortened(output: str) -> list[str]:
    """A command's output by the page's rules, harmless in a block of code."""
    lines = [line.rstrip().replace("```", "'''") for line in output.splitlines()]
    lines = [line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…" for line in _counted(lines)]
    left_out = len(lines) - FIRST_LINES - LAST_LINES
    return lines if left_out <= 1 else [*lines[:FIRST_LINES], f"… {left_out} lines", *lines[-LAST_LINES:]]


def _counted(lines: Sequence[str]) -> Iterator[str]:
    """Checks that passed or were skipped by their number, where they are many; a check may go on over several lines."""
    for is_check, group in groupby(lines, key=lambda line: line.startswith(("  passed ", "  skipped ", _CONTINUED))):
        found = list(group)
        checks = sum(not line.startswith(_CONTINUED) for line in found)
        yield from [f"  … {checks} checks passed or skipped"] if is_check and checks > MOST_PASSED else found


def _table(answered: Sequence[Answered]) -> Iterator[str]:
    yield "| Answered by | First at | Last at | Answers | Failed | p50 ms | p99 ms |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for found in answered:
        whose = "nobody" if found.revision is None else f"revision {found.revision} ({found.version})"
        yield (
            f"| {whose} | {found.first_s:.2f} s | {found.last_s:.2f} s | {found.answers:,} | {found.failed} "
            f"| {found.p50_ms:.1f} | {found.p99_ms:.1f} |"
        )
    yield ""


def _whole(recording: Recording) -> Iterator[str]:
    yield "## The whole run"
    yield ""
    yield from _table(recording.whole)


def _inline(fault: str) -> str:
    """A fault as code, whatever it holds."""
    return f"`{fault[:LINE_LENGTH].replace('`', chr(39))}`"
