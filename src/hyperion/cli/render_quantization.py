"""How quantizing looks: every layer, why anything stayed in float, the budget's verdict, classes, trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hyperion.cli.render import line, number, pairs, table
from hyperion.cli.text import bytes_for_people

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.loss import ClassLoss, LossBudget, MeasuredLoss, SetSizes, TriedForm
    from hyperion.domain.manifest import SchemeName
    from hyperion.domain.scheme import Agreement, LayerScheme, Measurements
    from hyperion.usecases.quantize import QuantizationReport

REASONS = 24
"""Lines of reasons that a summary shows."""
CLASSES = 20
"""Classes that a summary shows, those that lost most first."""


def show_layers(console: Console, layers: Sequence[LayerScheme], found: Measurements) -> None:
    """One line a layer: scheme, bits, bytes, the worst weight's noise and the worst output's; none of no layers."""
    if not layers:
        return
    effects = {effect.tensor: effect for effect in found.effects}
    rows = []
    for layer in layers:
        of_weights = [weight.sqnr_db for weight in layer.weights if weight.sqnr_db is not None]
        of_outputs = [
            effect.sqnr_db
            for weight in layer.weights
            if (effect := effects.get(weight.tensor)) is not None and effect.sqnr_db is not None
        ]
        rows.append(
            (
                layer.index, _schemes(layer), layer.bits, bytes_for_people(layer.bytes_before),
                bytes_for_people(layer.bytes_after), _decibels(of_weights), _decibels(of_outputs),
                _layer_name(layer),
            )
        )  # fmt: skip
    columns = ("#", "scheme", "bits", "before", "after", "weight dB", "output dB", "layer")
    table(console, columns, rows, right=("#", "bits", "before", "after", "weight dB", "output dB"))
    if any(layer.weights for layer in layers):
        line(
            console,
            "  dB: signal to quantization noise of the layer's worst weight, and of what its node puts out with the "
            "whole model quantized; 20 dB is a distance of 10 %",
            "dim",
        )


def show_reasons(console: Console, layers: Sequence[LayerScheme], alone: dict[str, float]) -> None:
    """Why weights stayed in float, or have more bits than they might; none is left out."""
    told = [
        f"{kept.tensor} stayed as it was: {kept.reason}{_alone(alone, kept.tensor)}"
        for layer in layers
        for kept in layer.kept
    ]
    for layer in layers:
        alike: dict[tuple[str, str], list[str]] = {}
        for weight in layer.weights:
            if weight.reason is not None:
                alike.setdefault((weight.scheme, weight.reason), []).append(weight.tensor)
        told += [
            f"{names[0] if len(names) == 1 else f'{len(names)} weights of {layer.name}'} "
            f"{'is' if len(names) == 1 else 'are'} {scheme}: {reason}"
            for (scheme, reason), names in alike.items()
        ]
    for text in told[:REASONS]:
        line(console, f"  {text}", "dim")
    if len(told) > REASONS:
        line(console, f"  and {len(told) - REASONS} more; 'hyperion quantize report' shows all", "dim")


def verdict(budget: LossBudget | None, found: Measurements) -> Iterable[tuple[str, object]]:
    """What quantizing costs, against the budget where there is one; rows for ``pairs``."""
    loss = found.loss
    allowed = None if budget is None else _allowed(budget)
    if loss is None:
        yield "  loss", found.unavailable
        yield "  budget", allowed
        return
    digits = 4 if loss.classes else 6
    change = f"{loss.before:.{digits}f} → {loss.after:.{digits}f}"
    yield f"  {loss.metric}", f"{change} on {loss.rows} rows of {_source(found)}"
    interval = f"{_small(loss.low)} to {_small(loss.high)}"
    yield "  loss", f"{_small(loss.loss)} (95 % interval {interval}, {loss.method})"
    if budget is not None:
        broken = loss.breaks(budget)
        yield "  budget", f"{allowed}: broken, {'; '.join(broken)}" if broken else f"{allowed}: kept"


def show_classes(console: Console, loss: MeasuredLoss | None, *, every: bool) -> None:
    """Recall, precision and F1 of each class before and after; unless ``every``, those that changed."""
    found = () if loss is None else loss.classes
    shown = sorted(found, key=lambda item: -item.recall_loss) if every else _changed(found)
    if not found:
        return
    if not shown:
        line(console, f"  no class of {len(found)} changed on the report set", "dim")
        return
    rows = (
        (
            item.support, _change(item.recall_before, item.recall_after),
            _change(item.precision_before, item.precision_after), _change(item.f1_before, item.f1_after), item.name,
        )
        for item in (shown if every else shown[:CLASSES])
    )  # fmt: skip
    table(console, ("  rows", "recall", "precision", "F1", "class"), rows, right=("  rows",))
    if not every and len(found) > len(shown[:CLASSES]):
        line(console, f"  the other {len(found) - len(shown[:CLASSES])} classes did not change or lost less", "dim")


def show_trials(console: Console, trials: Sequence[TriedForm], sets: SetSizes | None, *, every: bool) -> None:
    """What was loaded and measured; unless ``every``, without those that only told a sensitivity."""
    shown = [trial for trial in trials if every or trial.holds is not None]
    if not shown:
        return
    rows = (
        (
            bytes_for_people(trial.weights_bytes), "-" if trial.loss is None else _small(trial.loss),
            "-" if trial.error is None else f"{trial.error:.2%}", number(trial.latency_ms),
            "-" if trial.holds is None else "yes" if trial.holds else "no",
            _tried(trial),
        )
        for trial in shown
    )  # fmt: skip
    columns = ("  bytes", "loss", "error", "ms a row", "holds", f"tried on {_searched(sets)}")
    table(console, columns, rows, right=("  bytes", "loss", "error", "ms a row"))
    line(console, "  bytes: of the weights that can be quantized; biases and the rest come on top", "dim")
    more = len(trials) - len(shown)
    if more:
        line(console, f"  and {more} trial{'' if more == 1 else 's'} of layers alone, for their sensitivity", "dim")


def describe_scheme(most: SchemeName, layers: Sequence[LayerScheme]) -> str:
    """``w4 and int8``: the scheme of most quantized bytes, then what else there is, the larger share first."""
    sizes: Counter[str] = Counter()
    for layer in layers:
        for weight in layer.weights:
            sizes[weight.scheme] += weight.bytes_before
    names = [most, *(name for name, _ in sizes.most_common() if name != most)]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def describe_agreement(agreement: Agreement | None) -> str | None:
    """``0.9950 same class as the float model over 200 rows (threshold 0.99)``."""
    if agreement is None:
        return None
    measure = "same class as the float model" if agreement.measure == "top1" else "mean cosine with the float model"
    return f"{agreement.value:.4f} {measure} over {agreement.rows} rows (threshold {agreement.threshold})"


def show_quantization(console: Console, report: QuantizationReport) -> None:
    """Everything: layers, weights, reasons, budget, classes, trials."""
    record, found = report.quantization, report.measurements
    show_layers(console, record.layers, found)
    effects = {effect.tensor: effect for effect in found.effects}
    rows = (
        (
            weight.scheme, weight.bits, bytes_for_people(weight.bytes_before), bytes_for_people(weight.bytes_after),
            number(weight.sqnr_db), number(None if (e := effects.get(weight.tensor)) is None else e.sqnr_db),
            weight.tensor,
        )
        for layer in record.layers
        for weight in layer.weights
    )  # fmt: skip
    if any(layer.weights for layer in record.layers):
        line(console, "")
        columns = ("scheme", "bits", "before", "after", "weight dB", "output dB", "weight")
        table(console, columns, rows, right=("bits", "before", "after", "weight dB", "output dB"))
    for layer in record.layers:
        for kept in layer.kept:
            line(console, f"  {kept.tensor} stayed as it was: {kept.reason}{_alone(found.alone, kept.tensor)}", "dim")
        for weight in layer.weights:
            if weight.reason is not None:
                line(console, f"  {weight.tensor} is {weight.scheme}: {weight.reason}", "dim")
    line(console, "")
    show_trials(console, found.trials, found.sets, every=True)
    show_classes(console, found.loss, every=True)
    ratio = f" ({record.bytes_after / record.bytes_before:.0%})" if record.bytes_before else ""
    pairs(
        console,
        (
            ("  requested", record.requested),
            ("  scheme", ": ".join(filter(None, (describe_scheme(record.scheme, record.layers), record.reason)))),
            ("  shortfall", found.shortfall),
            *verdict(record.budget, found),
            ("  agreement", describe_agreement(found.agreement)),
            ("  sets", _sets(found)),
            ("  weights", f"{bytes_for_people(record.bytes_before)} → {bytes_for_people(record.bytes_after)}{ratio}"),
            ("  cpu", " ".join(found.cpu_features)),
            ("  sample", report.sample),
            ("  digest", report.digest),
        ),
    )
    line(console, f"{report.name} {report.version}", "bold")


def _schemes(layer: LayerScheme) -> str:
    names = sorted({weight.scheme for weight in layer.weights})
    return "+".join(names) if len(names) > 1 else layer.scheme


def _layer_name(layer: LayerScheme) -> str:
    """``conv2 (+ conv1.weight)``, ``encoder.layer.0 (6 weights)``: small layers lie in the next one's."""
    weights = [weight.tensor for weight in layer.weights] + [kept.tensor for kept in layer.kept]
    own = [name for name in weights if name == layer.name or name.startswith(f"{layer.name}.")]
    others = [name for name in weights if name not in own]
    if own and others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{layer.name} (+ {others[0]}{more})"
    return f"{layer.name} ({len(weights)} weights)" if len(weights) > 1 else layer.name


def _decibels(values: Sequence[float]) -> str:
    return f"{min(values):.1f}" if values else "-"


def _alone(alone: dict[str, float], tensor: str) -> str:
    return f": quantizing it alone changes the output by {alone[tensor]:.1%}" if tensor in alone else ""


def _allowed(budget: LossBudget) -> str:
    per_class = "" if budget.max_class_loss is None else f", {budget.max_class_loss:g} of any class's recall"
    return f"{budget.max_loss:g} of {budget.metric}{per_class}"


def _small(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 0.001 or not value else f"{value:.1e}"


def _source(found: Measurements) -> str:
    if found.sets is None:
        return "data that is not recorded"
    return f"the report set of {found.sets.source}" if found.sets.is_data else found.sets.source


def _searched(sets: SetSizes | None) -> str:
    return "the search set" if sets is None or sets.is_data else sets.source


def _sets(found: Measurements) -> str | None:
    sets = found.sets
    if sets is None:
        return None
    if not sets.is_data:
        return f"{sets.search} rows of {sets.source}, no dataset: what was chosen by them is judged by the same"
    more = f", {sets.left_out} left out" if sets.left_out else ""
    return f"{sets.source}: {sets.calibration} calibration, {sets.search} search, {sets.report} report rows{more}"


def _tried(trial: TriedForm) -> str:
    if trial.refused is not None:
        return f"{trial.what}: {trial.refused}"
    return f"{trial.what}, missing golden request {', '.join(trial.missed)}" if trial.missed else trial.what


def _changed(classes: Iterable[ClassLoss]) -> list[ClassLoss]:
    moved = [
        item
        for item in classes
        if (item.recall_before, item.precision_before) != (item.recall_after, item.precision_after)
    ]
    return sorted(moved, key=lambda item: -item.recall_loss)


def _change(before: float, after: float) -> str:
    return f"{before:.4f} → {after:.4f}" if before != after else f"{before:.4f}"
