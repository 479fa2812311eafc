"""How the answers of a model look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, number, table
from hyperion.domain.prediction import ClassPrediction, SpanPrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from hyperion.domain.prediction import Prediction
    from hyperion.usecases.run import OutputTensor, RunAnswer

_RUNNERS_UP = 2
_ROWS = 1000
"""More than anybody reads; a table of 200,000 rows took minutes to draw."""
_VALUES = 8


def show_answer(console: Console, answer: RunAnswer) -> None:
    """A line for each of the first rows, or for tensors one for each output."""
    predictions = None if answer.predictions is None else answer.predictions[:_ROWS]
    if predictions is None:
        _show_outputs(console, answer.outputs or ())
    elif isinstance(predictions[0], ClassPrediction):
        _show_classes(console, predictions)
    elif isinstance(predictions[0], SpanPrediction):
        _show_spans(console, predictions)
    else:
        _show_vectors(console, predictions)
    if answer.rows > _ROWS:
        line(console, f"… and {answer.rows - _ROWS:,} rows more: --json prints all")
    line(console, f"{answer.name} {answer.version}", "dim")


def _show_classes(console: Console, predictions: Sequence[Prediction]) -> None:
    rows = []
    for row, found in enumerate(predictions):
        if isinstance(found, ClassPrediction):
            others = sorted(found.scores.items(), key=lambda item: -item[1])
            rest = [f"{label} {score:.3f}" for label, score in others if label != found.label]
            rows.append((row, found.label, f"{found.score:.3f}", ", ".join(rest[:_RUNNERS_UP])))
    table(console, ("row", "label", "probability", "then"), rows, right=("row", "probability"))


def _show_spans(console: Console, predictions: Sequence[Prediction]) -> None:
    rows: list[tuple[object, ...]] = []
    for row, found in enumerate(predictions):
        spans = found.spans if isinstance(found, SpanPrediction) else ()
        rows += [(row, span.label, f"{span.score:.3f}", f"{span.start}-{span.end}", span.text) for span in spans]
        rows += [] if spans else [(row, None, None, None, "nothing found")]
    table(console, ("row", "label", "probability", "characters", "text"), rows, right=("row", "probability"))


def _show_vectors(console: Console, predictions: Sequence[Prediction]) -> None:
    rows = []
    for row, found in enumerate(predictions):
        values = getattr(found, "values", ())
        more = f", … {len(values)} in all" if len(values) > _VALUES else ""
        rows.append((row, ", ".join(number(value, 5) for value in values[:_VALUES]) + more))
    table(console, ("row", "values"), rows, right=("row",))


def _show_outputs(console: Console, outputs: Sequence[OutputTensor]) -> None:
    rows = []
    for output in outputs:
        more = f", … {len(output.data)} in all" if len(output.data) > _VALUES else ""
        rows.append(
            (
                output.name,
                output.datatype,
                str(list(output.shape)),
                ", ".join(number(value, 5) for value in output.data[:_VALUES]) + more,
            )
        )
    table(console, ("output", "datatype", "shape", "values"), rows)
