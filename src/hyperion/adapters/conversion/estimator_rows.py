"""Plausible inputs for a fitted scikit-learn estimator, read off what it learned: where it scales, splits, encodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MISSING = 0.05
"""Share of generated values that are missing, where an estimator takes such."""


def sample_rows(estimator: Any, width: int, rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Rows [rows, width] that reach the estimator's branches: around its scalers' means and its trees' thresholds.

    Where it tells nothing of a column, values are drawn from the standard normal distribution.
    """
    return _values(estimator, width, rows, np.random.default_rng(seed)).astype(np.float32)


def text_columns(estimator: Any, width: int) -> dict[int, tuple[str, ...]]:
    """The columns that hold text, by position, with all texts that an encoder learned for them."""
    first = next(iter(_steps(estimator)), estimator)
    found: dict[int, tuple[str, ...]] = {}
    for _, part, columns in getattr(first, "transformers_", [("all", first, slice(None))]):
        for encoder in (part, *_steps(part)):
            known = getattr(encoder, "categories_", None)
            picked = _positions(columns, width, first)
            if known is not None and len(known) == len(picked):
                texts = [tuple(str(value) for value in values if isinstance(value, str)) for values in known]
                found |= {int(at): values for at, values in zip(picked, texts, strict=True) if values}
    return found


def trees_of(estimator: Any) -> Iterator[Any]:
    """Every fitted decision tree inside an estimator: ``sklearn.tree._tree.Tree``, or a ``TreePredictor``."""
    found = getattr(estimator, "tree_", None)
    if found is not None:
        yield found
    for iteration in getattr(estimator, "_predictors", ()):  # of histogram gradient boosting: one tree for each class
        yield from iteration
    for step in _steps(estimator):
        yield from trees_of(step)
    for part in np.ravel(np.asarray(getattr(estimator, "estimators_", ()), dtype=object)):
        yield from trees_of(part)


def _steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline that do something."""
    return [step for _, step in getattr(estimator, "steps", ()) if step is not None and not isinstance(step, str)]


def _values(estimator: Any, width: int, rows: int, random: np.random.Generator) -> Floats:
    if steps := _steps(estimator):
        return _values(steps[0], width, rows, random)
    if hasattr(estimator, "transformers_"):
        return _by_column_group(estimator, width, rows, random)
    categories = getattr(estimator, "categories_", None)
    if categories is not None and len(categories) == width and all(c.dtype.kind in "iuf" for c in categories):
        return np.stack([random.choice(known, rows) for known in categories], axis=1).astype(np.float64)
    centre, spread = _scaling(estimator, width)
    values = random.normal(centre, spread, (rows, width))
    return _around_thresholds(estimator, values, random)


def _scaling(estimator: Any, width: int) -> tuple[Floats, Floats]:
    """Centre and spread of each column, where a scaler learned them."""
    low, high = getattr(estimator, "data_min_", None), getattr(estimator, "data_max_", None)
    if low is not None and high is not None:
        return (high + low) / 2, (high - low) / 4 + 1e-9
    centre = next((v for v in (getattr(estimator, n, None) for n in ("mean_", "center_")) if v is not None), 0.0)
    scale = getattr(estimator, "scale_", None)
    centres, scales = (np.asarray(v, np.float64) for v in (centre, 1.0 if scale is None else scale))
    if centres.shape not in ((), (width,)) or scales.shape not in ((), (width,)):
        return np.zeros(width), np.ones(width)
    return np.broadcast_to(centres, width), np.broadcast_to(scales, width)


def _by_column_group(estimator: Any, width: int, rows: int, random: np.random.Generator) -> Floats:
    """Columns of a ColumnTransformer, each as its own transformer likes it; the rest is normal."""
    values = random.normal(size=(rows, width))
    for _, part, columns in estimator.transformers_:
        picked = _positions(columns, width, estimator)
        if not isinstance(part, str) and part is not None and len(picked):
            values[:, picked] = _values(part, len(picked), rows, random)
    return values


def _positions(columns: Any, width: int, estimator: Any) -> NDArray[np.intp]:
    """Columns as a ColumnTransformer names them (slice, positions, names, or a mask), as positions."""
    if isinstance(columns, slice) and not isinstance(columns.start or columns.stop, str):
        return np.arange(width)[columns]
    picked = np.atleast_1d(np.asarray(columns))
    if picked.dtype.kind in "OUS":
        names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        return np.array([names.index(str(name)) for name in picked], dtype=np.intp)
    return np.flatnonzero(picked) if picked.dtype.kind == "b" else picked.astype(np.intp)


def _around_thresholds(estimator: Any, values: Floats, random: np.random.Generator) -> Floats:
    """Columns that trees split, drawn from their own thresholds with some room on both sides."""
    thresholds: dict[int, list[float]] = {}
    for tree in trees_of(estimator):
        for feature, threshold in _splits(tree):
            thresholds.setdefault(int(feature), []).append(float(threshold))
    for feature, known in thresholds.items():
        room = (max(known) - min(known)) / 20 or max(abs(known[0]), 1.0) / 20
        values[:, feature] = random.choice(known, len(values)) + random.normal(0, room, len(values))
    if hasattr(estimator, "_predictors"):  # it takes rows that lack values, and learned a way for them at each split
        values[random.random(values.shape) < MISSING] = np.nan
    return values


def _splits(tree: Any) -> Iterator[tuple[int, float]]:
    """Column and threshold of every split; one between missing and other values has none."""
    if hasattr(tree, "nodes"):
        inner = tree.nodes[(tree.nodes["is_leaf"] == 0) & np.isfinite(tree.nodes["num_threshold"])]
        return zip(inner["feature_idx"], inner["num_threshold"], strict=True)
    inner = tree.children_left != tree.children_right
    return zip(tree.feature[inner], tree.threshold[inner], strict=True)
