"""Histogram gradient boosting of scikit-learn: what converting it needs beside skl2onnx; runs in the child only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyperion.errors import ModelSourceError


def refuse_categories(trees: Iterator[Any], source: Path) -> None:
    """Demand that no tree splits by categories: skl2onnx would read such a split as one of numbers.

    Raises:
        ModelSourceError: One does (code ``model_source.not_convertible``).
    """
    if any(tree.nodes["is_categorical"].any() for tree in trees if hasattr(tree, "nodes")):
        raise ModelSourceError(
            f"{source}: gradient boosting splits by categories, which skl2onnx cannot convert",
            hint="encode them before it (OneHotEncoder, OrdinalEncoder) and fit it without categorical_features",
            code="model_source.not_convertible",
        )


@contextmanager
def integers_for_booleans() -> Iterator[None]:
    """While it lasts, skl2onnx's nodes may have lists of booleans as attributes, which ONNX has as integers.

    The converter of gradient boosting (1.20) writes ``False`` where a leaf has no way for missing values, and the
    protobuf of onnx from 1.21 on takes no boolean for an integer.
    """
    from skl2onnx.common import _container

    make_node = _container.make_node

    def make(*names: Any, **attributes: Any) -> Any:
        return make_node(*names, **{name: _plain(value) for name, value in attributes.items()})

    _container.make_node = make
    try:
        yield
    finally:
        _container.make_node = make_node


def _plain(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(item, bool) for item in value):
        return [int(item) for item in value]
    return value
