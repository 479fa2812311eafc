"""scikit-learn → ONNX, through skl2onnx; runs in the converting child only."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hyperion.adapters.conversion.boosted_trees import integers_for_booleans, refuse_categories
from hyperion.adapters.conversion.converted_model import ConvertedModel, name_batch
from hyperion.adapters.conversion.estimator_check import INPUT, check_alike, class_labels
from hyperion.adapters.conversion.estimator_rows import text_columns, trees_of
from hyperion.domain.processing import ClassesOutput, Column, Processing, TableInput, VectorOutput
from hyperion.errors import HyperionError, ModelSourceError

if TYPE_CHECKING:
    from onnx import ModelProto

LIBRARIES = ("scikit-learn", "skl2onnx")
OPSETS = {"": 17, "ai.onnx.ml": 3}
"""Old enough for every engine that is supported, new enough for every converter of skl2onnx; schemes raise it."""
_FLOAT = 1
"""TensorProto.FLOAT."""
_SKOPS = ".skops"
ERROR_CHARACTERS = 300
"""Of what reading a file says; the file may have written it."""
_WHAT_CONVERTERS_RAISE = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, NameError)
"""skl2onnx says in its own errors what it does not know, and lets through what a converter met."""


def convert_sklearn(source: Path, trusted_types: Sequence[str], made: ConvertedModel) -> None:
    """Read an estimator, convert it, and check that both answer alike.

    Raises:
        ModelSourceError: It holds types that nobody trusted (code ``model_source.untrusted_type``), is no estimator,
            is not fitted, takes what no table holds, or answers otherwise after conversion.
    """
    estimator = _estimator(source, trusted_types, made)
    columns = _columns(estimator, source)
    made.came_from(f"scikit-learn {_class_name(estimator)}", LIBRARIES)
    model = _graph(estimator, columns, source)
    made.notes.append(check_alike(estimator, model, columns, source))
    made.model.write_bytes(model.SerializeToString())
    labels = class_labels(estimator)
    output = _output(model, labels)
    made.write_card()
    if isinstance(output, ClassesOutput) and not hasattr(estimator, "predict_proba"):
        made.notes.append(f"{_class_name(estimator)} gives scores of its classes, no probabilities")
    if output is not None:
        table = TableInput(kind="table", input=None if columns[0].input else INPUT, columns=tuple(columns))
        made.write_processing(Processing(input=table, output=output))
    if any(True for _ in trees_of(estimator)):
        made.notes.append("decision trees hold no weight matrices: there is nothing to quantize in them")


def _estimator(source: Path, trusted_types: Sequence[str], made: ConvertedModel) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = _load(source, trusted_types)
    made.notes += dict.fromkeys(
        f"{source.name}: {str(found.message).splitlines()[0]}"
        for found in caught
        if "version" in str(found.message) and "scikit-learn" in str(found.message)
    )
    if not hasattr(estimator, "predict") and not hasattr(estimator, "transform"):
        raise ModelSourceError(
            f"{source}: holds a {type(estimator).__module__}.{type(estimator).__name__}, which is no scikit-learn "
            "estimator",
            hint="save the fitted estimator itself, with its whole pipeline",
            code="model_source.not_convertible",
        )
    return estimator


def _load(source: Path, trusted_types: Sequence[str]) -> Any:
    try:
        return _load_skops(source, trusted_types) if source.suffix == _SKOPS else _load_pickle(source)
    except (HyperionError, MemoryError, OSError):
        raise
    except Exception as error:  # damaged bytes lead a pickle anywhere: IndexError, struct.error, zlib.error …
        raise ModelSourceError(
            f"{source}: cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:ERROR_CHARACTERS]}",
            hint="the file is damaged, or was saved with other versions of scikit-learn and what it builds on, or with "
            "packages that are not installed here; save the estimator again",
            code="model_source.not_convertible",
        ) from error


def _load_skops(source: Path, trusted_types: Sequence[str]) -> Any:
    from skops.io import get_untrusted_types, load

    untrusted = get_untrusted_types(file=source)
    missing = sorted(set(untrusted) - set(trusted_types))
    if missing:
        flags = " ".join(f"--trust-type {name}" for name in missing)
        raise ModelSourceError(
            f"{source}: holds types that are not trusted by themselves: {', '.join(missing)}",
            hint=f"if you know them and trust who made the file, add {flags}",
            code="model_source.untrusted_type",
        )
    return load(source, trusted=list(untrusted))


def _load_pickle(source: Path) -> Any:
    import joblib

    return joblib.load(source)


def _columns(estimator: Any, source: Path) -> list[Column]:
    """The columns that it was fitted on; ``x0``, ``x1``, … where they had no names, as scikit-learn itself says.

    A table with text in it has an input of the model for each column, for one tensor cannot hold both.
    """
    first = next(iter(_parts(estimator)))
    if hasattr(first, "token_pattern") or hasattr(first, "get_stop_words"):
        raise ModelSourceError(
            f"{source}: {_class_name(estimator)} starts from texts: how a {type(first).__name__} splits them into "
            "words has no equal in ONNX",
            hint="save what comes after it (pipeline[1:]), and send its numbers as rows: "
            "vectorizer.transform(texts).toarray(); or package a Hugging Face model, which takes texts",
            code="model_source.not_convertible",
        )
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise ModelSourceError(
            f"{source}: {_class_name(estimator)} does not say how many columns it takes: it is not fitted",
            hint="save it after fit()",
            code="model_source.not_convertible",
        )
    found = getattr(estimator, "feature_names_in_", None)
    names = [f"x{index}" for index in range(width)] if found is None else [str(name) for name in found]
    texts = text_columns(estimator, width)
    if not texts:
        missing: Literal["nan"] | None = (
            "nan" if hasattr(estimator, "_predictors") else None
        )  # of histogram gradient boosting
        return [Column(name=name, missing=missing) for name in names]
    return [
        Column(name=name, input=own, kind="category", categories=texts[at])
        if at in texts
        else Column(name=name, input=own)
        for at, (name, own) in enumerate(zip(names, _input_names(names), strict=True))
    ]


def _parts(estimator: Any) -> Iterator[Any]:
    """What rows pass through: the first step of a pipeline, and of one in it, before the estimator itself."""
    for _, step in getattr(estimator, "steps", ()):
        if step is not None and not isinstance(step, str):
            yield from _parts(step)
    yield estimator


def _input_names(names: Sequence[str]) -> list[str]:
    """Names for inputs that skl2onnx leaves as they are: those of the columns, as identifiers; else by position."""
    wanted = [re.sub(r"[^A-Za-z0-9_]", "_", name) for name in names]
    free = len(set(wanted)) == len(wanted) and all(name.isidentifier() for name in wanted)
    return wanted if free else [f"x{at}" for at in range(len(names))]


def _graph(estimator: Any, columns: Sequence[Column], source: Path) -> ModelProto:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    refuse_categories(trees_of(estimator), source)
    _name_columns_by_number(estimator)
    inputs = [(INPUT, FloatTensorType([None, len(columns)]))]
    if columns[0].input:
        inputs = [
            (column.input or column.name, (FloatTensorType if column.kind == "number" else StringTensorType)([None, 1]))
            for column in columns
        ]
    # One tensor of scores instead of a list of dictionaries; classifiers that never write one do not know the option.
    options = {"zipmap": False} if hasattr(estimator, "classes_") else None
    given = {"initial_types": inputs, "target_opset": OPSETS}
    try:
        with integers_for_booleans():
            try:
                model: ModelProto = to_onnx(estimator, options=options, **given)
            except NameError:
                model = to_onnx(estimator, **given)
    except _WHAT_CONVERTERS_RAISE as error:
        raise ModelSourceError(
            f"{source}: skl2onnx cannot convert {_class_name(estimator)}: {_first_line(error)}",
            hint="text columns need an encoder as the first to see them (OneHotEncoder, OrdinalEncoder); a class of "
            "another library has to be exported to ONNX with that library's own converter",
            code="model_source.not_convertible",
        ) from error
    name_batch(model)
    opsets = {item.domain: item.version for item in model.opset_import}
    del model.opset_import[:]
    for domain, number in sorted(opsets.items()):
        model.opset_import.add(domain=domain, version=number)
    return model


def _name_columns_by_number(estimator: Any) -> None:
    """Have a ColumnTransformer pick columns by position: the graph has one input for all of them, without names."""
    for _, step in getattr(estimator, "steps", ()):
        _name_columns_by_number(step)
    if not hasattr(estimator, "transformers_") or not hasattr(estimator, "feature_names_in_"):
        return
    position = {str(name): index for index, name in enumerate(estimator.feature_names_in_)}
    estimator.transformers_ = [
        (name, part, [position.get(str(column), column) for column in columns] if _is_named(columns) else columns)
        for name, part, columns in estimator.transformers_
    ]


def _is_named(columns: Any) -> bool:
    return not isinstance(columns, slice | str) and any(isinstance(column, str) for column in columns)


def _output(model: ModelProto, labels: list[str] | None) -> ClassesOutput | VectorOutput | None:
    """The output with one number for each class, else the first floating-point one; None where there is neither."""
    output = next((value for value in model.graph.output if value.type.tensor_type.elem_type == _FLOAT), None)
    if output is None:
        return None
    if labels is None:
        return VectorOutput(kind="vector", output=output.name)
    size = output.type.tensor_type.shape.dim[-1].dim_value
    one = (size, len(labels)) == (1, 2)  # the decision function of two classes: positive for the second
    if len(labels) < 2 or (size != len(labels) and not one):
        return None
    return ClassesOutput(
        kind="classes", output=output.name, labels=tuple(labels), activation="sigmoid" if one else "none"
    )


def _class_name(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    if steps:
        return f"Pipeline({', '.join(type(step).__name__ for _, step in steps if step not in ('passthrough', None))})"
    return type(estimator).__name__


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
