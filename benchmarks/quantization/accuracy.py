"""Wrong answers, cosine and bytes of quantized models, against float and against onnxruntime.quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from tests.downloads import UnavailableError

from benchmarks.measure import Figure, Result
from benchmarks.quantization import images, tables, texts
from benchmarks.quantization.bench import BUDGET, WITHIN_BUDGET, Bench, Packaged, RefusedError
from benchmarks.quantization.recipe import Array, Recipe, session_runner
from benchmarks.quantization.reference import REFERENCES, PeerFailedError, Way, quantized

COMMAND = "python -m benchmarks.quantization --only accuracy"
INTERVAL = 1.96
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True)
class Trial:
    """One scheme of one recipe, with the targets that it has.

    Attributes:
        recipe: Makes the model.
        scheme: As ``--quantize``, or WITHIN_BUDGET.
        points: Points of accuracy that it may lose.
        cosine: Smallest mean cosine allowed.
        share: Of the float weights' bytes that it may take.
    """

    recipe: Callable[[], Recipe]
    scheme: str
    points: float | None = None
    cosine: float | None = None
    share: float | None = None


HALF = 100 * BUDGET
TRIALS = (
    Trial(tables.digits, WITHIN_BUDGET, points=HALF),
    Trial(tables.digits, "auto", points=HALF),
    Trial(tables.digits, "int8"),
    Trial(tables.digits, "w4"),
    Trial(tables.breast_cancer, WITHIN_BUDGET),
    Trial(tables.breast_cancer, "int8"),
    Trial(tables.breast_cancer, "w4"),
    Trial(images.mnist, WITHIN_BUDGET, points=HALF, share=0.18),
    Trial(images.mnist, "auto", points=HALF),
    Trial(images.mnist, "int8"),
    Trial(images.mnist, "static-int8"),
    Trial(images.mnist, "w4"),
    Trial(texts.reuters, WITHIN_BUDGET, points=HALF),
    Trial(texts.reuters, "auto", points=HALF),
    Trial(texts.reuters, "int8"),
    Trial(texts.minilm, "int8", cosine=0.99, share=0.26),
    Trial(texts.minilm, "w8", cosine=0.9995),
    Trial(texts.minilm, "w4", share=0.165),
)


def measure(bench: Bench) -> Result:
    """Every trial; one whose model cannot be fetched, or that packaging refuses, becomes a row that says so."""
    figures: list[Figure] = []
    for trial in TRIALS:
        try:
            found = list(_rows(bench, trial))
        except (RefusedError, UnavailableError) as error:
            found = [_refused(trial, str(error))]
        for figure in found:
            print(f"  {figure.line()}", flush=True)
        figures += found
    what = "Answers on rows that no decision saw, and bytes under weights/ of the package"
    return Result("accuracy", what, COMMAND, tuple(figures))


def _rows(bench: Bench, trial: Trial) -> Iterator[Figure]:
    recipe = trial.recipe()
    exact, packaged = bench.packaged(recipe, "none"), bench.packaged(recipe, trial.scheme)
    before, after = recipe.answers(session_runner(recipe.model)), recipe.answers(packaged.runner)
    title = f"{recipe.title}, {trial.scheme}"
    way = REFERENCES.get(trial.scheme)
    peer, peer_bytes, why = _peer(bench, recipe, trial.scheme, way)
    yield _quality(trial, recipe, title, before, after, peer, why, packaged)
    ours, whole = packaged.weights_bytes, exact.weights_bytes
    yield Figure(
        f"{title}: bytes under weights/", "kB", ours / 1e3, (ours / 1e3,) * 2, "the same in float", whole / 1e3,
        bar=trial.share, note=_schemes(packaged),
    )  # fmt: skip
    if way is not None:
        size = packaged.path.stat().st_size
        yield Figure(
            f"{title}: bytes of the package", "kB", size / 1e3, (size / 1e3,) * 2, f"onnxruntime.quantization {way}",
            None if peer_bytes is None else peer_bytes / 1e3, unavailable=why,
        )  # fmt: skip


def _peer(bench: Bench, recipe: Recipe, scheme: str, way: Way | None) -> tuple[Array | None, int | None, str | None]:
    """Answers and bytes of the reference, or why there are none."""
    if way is None:
        return None, None, None
    output = bench.folder / f"{recipe.key}-{scheme}.onnx"
    try:
        file = quantized(recipe.model, way, output, recipe.tuning or recipe.test)
        return recipe.answers(session_runner(file)), file.stat().st_size, None
    except PeerFailedError as error:
        return None, None, f"it fails: {error}"


def _quality(
    trial: Trial, recipe: Recipe, title: str, before: Array, after: Array, peer: Array | None, why: str | None,
    packaged: Packaged,
) -> Figure:  # fmt: skip
    """Wrong answers where there are labels, else what is missing to a cosine of 1."""
    way = REFERENCES.get(trial.scheme)
    if recipe.labels is None:
        lost = 1 - float(cosines(before, after).mean())
        limit = None if trial.cosine is None else 1 - trial.cosine
        told = f"smallest {cosines(before, after).min():.4f}, {recipe.rows} sentences"
        other = None if peer is None else 1 - float(cosines(before, peer).mean())
        return Figure(
            f"{title}: 1 - mean cosine", "", lost, (lost, lost), f"onnxruntime.quantization {way}", other, limit,
            note=f"Mean cosine to float {1 - lost:.5f}, {told}.", unavailable=why,
        )  # fmt: skip
    labels = recipe.labels
    float_wrong, wrong = ((scores.argmax(axis=1) != labels) for scores in (before, after))
    allowed = None if trial.points is None else float(int(float_wrong.sum() + trial.points / 100 * recipe.rows))
    same = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
    note = (
        f"Accuracy {1 - wrong.mean():.4f}, float {1 - float_wrong.mean():.4f}: {_interval(float_wrong, wrong)}; "
        f"the same class in {same:.4f} of the rows"
    )
    if way is not None:
        told = why or f"{int((peer.argmax(axis=1) != labels).sum())} wrong"
        note += f"; onnxruntime.quantization {way}: {told}"
    count = float(wrong.sum())
    return Figure(
        f"{title}: wrong answers", f"of {recipe.rows}", count, (count, count), "float", float(float_wrong.sum()),
        allowed, f"{note}. Packaged in {packaged.summary['duration_s']:.0f} s.",
    )  # fmt: skip


def cosines(one: Array, other: Array) -> Array:
    """Of each pair of rows."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def _interval(before: Array, after: Array) -> str:
    """The loss in points with its 95 % interval, by the rows whose answer changed (paired proportions)."""
    change = after.astype(float) - before.astype(float)
    half = INTERVAL * float(change.std(ddof=1)) / len(change) ** 0.5
    return f"loss {100 * change.mean():.2f} ± {100 * half:.2f} points"


def _schemes(packaged: Packaged) -> str:
    """Which schemes the weights of a package have, by bytes."""
    sizes: dict[str, int] = {}
    for layer in packaged.summary["layers"]:
        sizes[layer["scheme"]] = sizes.get(layer["scheme"], 0) + layer["bytes_after"]
    text = ", ".join(f"{name} {size / 1e3:.0f} kB" for name, size in sizes.items())
    reason = packaged.summary["reason"]
    return f"Layers: {text}." + (f" {reason}." if reason else "")


def _refused(trial: Trial, why: str) -> Figure:
    """A row without a figure: what was to be measured could not be."""
    name = trial.recipe.__name__
    return Figure(f"{name}, {trial.scheme}", "", None, (0.0, 0.0), unavailable=why)
