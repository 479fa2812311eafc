"""A comparison as Markdown for a release note; what packages say is shown as it is and never acted upon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hyperion.cli.render import number
from hyperion.cli.render_comparison import (
    LAYER_COLUMNS,
    answer_lines,
    change_row,
    figures,
    form_cells,
    heading,
    plan_title,
    step_words,
    unavailable,
)
from hyperion.cli.text import bytes_for_people
from hyperion.domain.markdown import plain

if TYPE_CHECKING:
    from hyperion.domain.answers import AnswerComparison
    from hyperion.domain.comparison import VersionComparison
    from hyperion.domain.migration import MigrationPoint


def comparison_markdown(comparison: VersionComparison, *, tensors: bool = False) -> str:
    """The whole comparison as one page."""
    before, after = comparison.before, comparison.after
    lines = [
        f"# {plain(heading(comparison))}",
        "",
        f"**S{plain(str(comparison.safe_to_swap))[1:]}.**",
        "",
        *_table(
            ("", "version", "digest", "size", "weights"),
            (
                (
                    title,
                    side.version,
                    side.digest,
                    bytes_for_people(side.total_bytes),
                    bytes_for_people(side.weights_bytes),
                )
                for title, side in (("before", before), ("after", after))
            ),
        ),
        *_callers(comparison),
    ]
    if not comparison.is_identical:
        lines += _weights(comparison, tensors=tensors)
        lines += _others(comparison)
    if comparison.answers is not None:
        lines += _answers(comparison.answers)
    if comparison.plan is not None:
        lines += _plan(plan_title(comparison), comparison.plan)
    return "\n".join(lines).rstrip() + "\n"


def _callers(comparison: VersionComparison) -> Iterator[str]:
    yield "## For callers"
    yield ""
    yield f"The version step is {plain(step_words(comparison))}."
    yield ""
    if comparison.step.reasons:
        rows = ((reason.step.value, reason.field, reason.text) for reason in comparison.step.reasons)
        yield from _table(("asks for", "field", "change"), rows)
    else:
        yield "Nothing changes: inputs, outputs, labels and the processing of raw inputs are as they were."
        yield ""


def _weights(comparison: VersionComparison, *, tensors: bool) -> Iterator[str]:
    changed = [layer for layer in comparison.layers if layer.changed]
    yield "## Weights"
    yield ""
    count = f"{len(changed)} of {len(comparison.layers)} layers changed"
    yield f"{count}. Figures are of dequantized values, after against before."
    yield ""
    rows: list[tuple[str, ...]] = []
    for layer in changed:
        before, after = (None if side is None else side.form for side in (layer.before, layer.after))
        rows.append((layer.name, *form_cells(before, after), *figures(layer.difference)))
        rows += (
            (f"… {weight.name}", *form_cells(weight.before, weight.after), *figures(weight.difference))
            for weight in (layer.weights if tensors else ())
        )
    if rows:
        yield from _table([plain(column) for column in LAYER_COLUMNS], rows)
    yield from _bullets(unavailable(changed))


def _others(comparison: VersionComparison) -> Iterator[str]:
    found = [*comparison.signature, *comparison.processing, *comparison.configs, *comparison.metadata]
    yield "## Everything else"
    yield ""
    if found:
        yield from _table(("what", "before", "after"), map(change_row, found))
    else:
        yield "No change."
        yield ""


def _answers(answers: AnswerComparison) -> Iterator[str]:
    yield f"## Answers on {plain(answers.dataset)}"
    yield ""
    yield from _bullets(answer_lines(answers))
    if answers.classes is not None and answers.classes.changes:
        moves = ((move.before, move.after, f"{move.rows:,}") for move in answers.classes.changes)
        yield from _table(("class before", "class after", "rows"), moves)
    if answers.outputs:
        rows = ((o.name, number(o.max_abs), number(o.mean_abs), number(o.cosine, 6)) for o in answers.outputs)
        yield from _table(("output", plain("max |diff|"), plain("mean |diff|"), "cosine"), rows)


def _plan(title: str, points: Iterable[MigrationPoint]) -> Iterator[str]:
    yield f"## Migration: {title}"
    yield ""
    for index, point in enumerate(points, start=1):
        yield f"{index}. **{point.point}.** {plain(point.found)}."
        if point.todo is not None:
            command = "" if point.command is None else f": {_code(point.command)}"
            yield f"   To do: {plain(point.todo)}{command}"
    yield ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(plain(cell) for cell in row)} |"
    yield ""


def _bullets(texts: Iterable[str]) -> Iterator[str]:
    found = [f"- {plain(text)}" for text in texts]
    yield from found
    if found:
        yield ""


def _code(command: str) -> str:
    """A command to copy; one that could leave its code span is escaped instead."""
    return f"`{command}`" if command.isprintable() and "`" not in command else plain(command)
