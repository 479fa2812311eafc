"""How two versions look side by side, on a terminal; the last line says whether to swap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hyperion.cli.render import line, number, pairs, table
from hyperion.cli.text import bytes_for_people
from hyperion.domain.comparison import OPERATORS
from hyperion.domain.digest import PREFIX, short

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.answers import AnswerComparison
    from hyperion.domain.comparison import Change, LayerComparison, VersionComparison
    from hyperion.domain.difference import Difference, StoredForm
    from hyperion.domain.migration import MigrationPoint

LAYER_COLUMNS = ("layer", "scheme", "bits", "dtype", "shape", "max |diff|", "mean |diff|", "SQNR dB")
MAX_CLASS_CHANGES = 20
"""More kinds of changed predictions are for programs (--json)."""
SHOWN_ITEMS = 8
_STYLES = {"major": "bold red", "minor": "yellow", "patch": "green"}


def show_comparison(console: Console, comparison: VersionComparison, *, tensors: bool = False) -> None:
    """Everything that differs, kind by kind; ``tensors`` adds every weight under its layer."""
    line(console, heading(comparison), "bold")
    pairs(console, sides(comparison))
    line(console, "")
    _show_step(console, comparison)
    if not comparison.is_identical:
        line(console, "")
        _show_layers(console, comparison.layers, tensors=tensors)
        others = (
            ("inputs, outputs, labels", comparison.signature),
            ("processing of raw inputs", comparison.processing),
            ("configs and other entries", comparison.configs),
            ("metadata", comparison.metadata),
        )
        for title, found in others:
            line(console, f"{title}: {count_of(found)}", "bold" if found else "dim")
            if found:
                table(console, ("  which", "before", "after"), ((f"  {p}", b, a) for p, b, a in map(change_row, found)))
    if comparison.answers is not None:
        _show_answers(console, comparison.answers)
    if comparison.plan is not None:
        _show_plan(console, plan_title(comparison), comparison.plan)
    line(console, "")
    line(console, str(comparison.safe_to_swap), "bold green" if comparison.safe_to_swap.safe else "bold red")


def heading(comparison: VersionComparison) -> str:
    """Model and versions; both models where B is another one."""
    before, after = comparison.before, comparison.after
    renamed = "" if before.name == after.name else f"{after.name} "
    return f"{before.name} {before.version} → {renamed}{after.version}"


def sides(comparison: VersionComparison) -> Iterable[tuple[str, str]]:
    """A and B, one line each."""
    for title, side in (("A", comparison.before), ("B", comparison.after)):
        size = f"{bytes_for_people(side.total_bytes)}, weights {bytes_for_people(side.weights_bytes)}"
        yield f"  {title}", f"{side.name} {side.version}, {short(side.digest)}, {size}, {side.source}"


def step_words(comparison: VersionComparison) -> str:
    """Required and taken step, and what to think of that."""
    step = comparison.step
    if comparison.is_identical:
        return "none: both are the same package"
    verdict = {True: "honest", False: "NOT honest", None: "a way back"}[step.honest]
    return f"{verdict}: {step.sentence}"


def plan_title(comparison: VersionComparison) -> str:
    """Which of the guide's lists it is: the one for what changed, whatever the version says."""
    step = comparison.step
    if comparison.is_identical or step.taken is step.required:
        return f"a {step.required} update"
    says = "" if step.taken is None else f" (the version says {step.taken})"
    return f"what changed needs a {step.required} update{says}"


def _show_step(console: Console, comparison: VersionComparison) -> None:
    step = comparison.step
    line(console, f"step: {step_words(comparison)}", _STYLES[step.required] if step.honest else "bold red")
    if step.reasons:
        rows = ((f"  {reason.step}", reason.field, reason.text) for reason in step.reasons)
        table(console, ("  asks for", "field", "what callers feel"), rows)
    elif not comparison.is_identical:
        line(console, "  callers feel nothing: no input, output, label or processing of raw inputs changed", "dim")


def _show_layers(console: Console, layers: tuple[LayerComparison, ...], *, tensors: bool) -> None:
    changed = [layer for layer in layers if layer.changed]
    line(console, f"layers: {len(changed)} of {len(layers)} changed", "bold" if changed else "dim")
    if not changed:
        return
    rows: list[tuple[str, ...]] = []
    for layer in changed:
        before, after = (None if side is None else side.form for side in (layer.before, layer.after))
        rows.append((f"  {layer.name}", *form_cells(before, after), *figures(layer.difference)))
        for weight in layer.weights if tensors else ():
            name = f"{weight.name} (was {weight.renamed_from})" if weight.renamed_from else weight.name
            rows.append((f"    {name}", *form_cells(weight.before, weight.after), *figures(weight.difference)))
    columns = (f"  {LAYER_COLUMNS[0]}", *LAYER_COLUMNS[1:])
    table(console, columns, rows, right=("bits", *LAYER_COLUMNS[5:]))
    for reason in unavailable(changed):
        line(console, f"  {reason}", "dim")


def form_cells(before: StoredForm | None, after: StoredForm | None) -> tuple[str, ...]:
    """Scheme, bits, dtype and shape, each before and after where they differ."""
    pairs_of = zip(_form_cells(before), _form_cells(after), strict=True)
    return tuple(old if old == new else f"{old} → {new}" for old, new in pairs_of)


def _form_cells(form: StoredForm | None) -> tuple[str, str, str, str]:
    if form is None:
        return ("-",) * 4
    return form.scheme, str(form.bits), form.dtype, str(list(form.shape))


def figures(difference: Difference) -> tuple[str, str, str]:
    """Largest and mean difference and SQNR; what is null is a dash, and of no difference the SQNR has no end."""
    sqnr = "∞" if difference.max_abs == 0 else "-" if difference.sqnr_db is None else f"{difference.sqnr_db:.1f}"
    return number(difference.max_abs), number(difference.mean_abs), sqnr


def unavailable(layers: Iterable[LayerComparison]) -> Iterable[str]:
    """Why figures are missing: each reason once, with the layers or weights that it is true of."""
    reasons: dict[str, list[str]] = {}
    for layer in layers:
        if layer.difference.unavailable is not None:
            reasons.setdefault(f"no figures, since {layer.difference.unavailable}", []).append(layer.name)
            continue
        for weight in layer.weights:
            if weight.difference.unavailable is not None:
                reason = f"not in the figures of its layer, since {weight.difference.unavailable}"
                reasons.setdefault(reason, []).append(weight.name)
    return [f"{_listed(names)}: {reason}" for reason, names in reasons.items()]


def count_of(found: tuple[Change, ...]) -> str:
    return "no change" if not found else f"{len(found)} changed"


def change_row(change: Change) -> tuple[str, str, str]:
    """Path, before and after, for people."""
    before, after = change.before, change.after
    if change.path == OPERATORS and isinstance(before, list) and isinstance(after, list):
        return change.path, _only("removed", before, after), _only("added", after, before)
    return change.path, _value(before), _value(after)


def _only(what: str, operators: Sequence[object], others: Sequence[object]) -> str:
    """Those that the other side lacks."""
    found = [operator for operator in operators if operator not in others]
    return f"{what} {_listed(found)}" if found else "-"


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return _listed(value)
    text = str(value)
    return short(text) if text.startswith(PREFIX) else text


def _listed(items: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(items) - SHOWN_ITEMS} more" if len(items) > SHOWN_ITEMS else ""
    return ", ".join(str(item) for item in items[:SHOWN_ITEMS]) + more


def _show_answers(console: Console, answers: AnswerComparison) -> None:
    line(console, "")
    line(console, f"answers on {answers.dataset}", "bold")
    for text in answer_lines(answers):
        line(console, f"  {text}")
    classes = answers.classes
    if classes is not None and classes.changes:
        shown = classes.changes[:MAX_CLASS_CHANGES]
        rows = ((f"  {move.before}", move.after, f"{move.rows:,}") for move in shown)
        table(console, ("  class before", "class after", "rows"), rows, right=("rows",))
        if len(classes.changes) > len(shown):
            line(console, f"  and {len(classes.changes) - len(shown)} more; see --json", "dim")
    rows_of = ((f"  {o.name}", number(o.max_abs), number(o.mean_abs), number(o.cosine, 6)) for o in answers.outputs)
    if answers.outputs:
        table(
            console, ("  output", "max |diff|", "mean |diff|", "cosine"), rows_of, right=("max |diff|", "mean |diff|")
        )


def answer_lines(answers: AnswerComparison) -> Iterable[str]:
    """What both answered, in words."""
    if answers.unavailable is not None:
        yield answers.unavailable
        return
    refused = f"refused: {answers.refused_before:,} by A, {answers.refused_after:,} by B"
    yield f"{answers.rows:,} rows answered by both; {refused}"
    if answers.stray_rows:
        yield f"{answers.stray_rows:,} rows where B answers NaN or infinity, and A does not"
    classes = answers.classes
    if classes is None:
        yield f"no classes: {answers.classes_unavailable}"
        return
    yield f"{classes.changed_rows:,} predictions change ({classes.changed_share:.1%})"
    if classes.accuracy_before is not None and classes.accuracy_after is not None:
        yield f"accuracy: {classes.accuracy_before:.4f} → {classes.accuracy_after:.4f}"
        yield f"{classes.mended_rows:,} rows were wrong and are right now, {classes.broken_rows:,} the other way round"


def _show_plan(console: Console, title: str, points: tuple[MigrationPoint, ...]) -> None:
    line(console, "")
    line(console, f"migration: {title}", "bold")
    for index, point in enumerate(points, start=1):
        line(console, f"  {index}. {point.point}", "bold")
        pairs(
            console,
            (("     found", point.found), ("     to do", point.todo or "nothing"), ("     with", point.command)),
        )
