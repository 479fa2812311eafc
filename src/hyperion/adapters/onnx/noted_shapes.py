"""Shapes that an exporter noted inside a graph: with them the engine fuses more nodes, by stale ones it may fail.

So a graph that stays as it was written keeps them where they are seen to do no harm; one that is rewritten, never.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hyperion.adapters.engine.prepacking import passing_options
from hyperion.adapters.engine.session import make_session, run_interruptibly
from hyperion.domain.tensor import Signature
from hyperion.errors import EngineError
from hyperion.ports import Array, Tensors
from hyperion.quantization.graph import all_graphs
from hyperion.verification.request import NoRequestError, generated_request

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

    from hyperion.adapters.onnx.source import SourceModel

MAX_NOTED_BYTES = 512 * 1024
"""Of all notes together; more would make architecture.json larger than may be read. A thousand nodes have 50 KB."""
_ROWS = (1, 3)
"""Of the requests that notes are tried on: a batch size that an exporter baked in fits one of them at most."""
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
"""How far answers may move: fused nodes round otherwise."""


def notes_of(graph: GraphProto) -> tuple[ValueInfoProto, ...]:
    """What is noted in a graph of its own values, without texts and fields that ONNX does not know."""
    found = []
    for value in graph.value_info:
        note = type(value).FromString(value.SerializeToString())
        note.ClearField("doc_string")
        del note.metadata_props[:]
        note.DiscardUnknownFields()
        found.append(note)
    return tuple(found)


def keep_harmless_notes(source: SourceModel, signature: Signature, golden: Iterable[Tensors], path: str) -> None:
    """Give the graph its noted shapes back, where the engine takes them and answers as it does without.

    Args:
        source: A model that is stored as it was written; its weights are where they were.
        signature: Of it.
        golden: Inputs of its golden requests.
        path: Of the model, for messages.
    """
    size = sum(note.ByteSize() for notes in source.notes for note in notes)
    if not 0 < size <= MAX_NOTED_BYTES:
        return
    requests = [*_generated(signature), *golden]
    expected = _answers(source, signature, requests, path)
    _restore(source)
    try:
        found = _answers(source, signature, requests, path)
    except EngineError:
        found = []
    if all(answer is None for answer in expected) or not _is_alike(expected, found):
        for _, graph in all_graphs(source.model.graph):
            del graph.value_info[:]


def _restore(source: SourceModel) -> None:
    """Add the notes on what nodes put out; of weights, inputs and outputs the graph itself says it."""
    for (_, graph), notes in zip(all_graphs(source.model.graph), source.notes, strict=True):
        outputs = {value.name for value in graph.output}
        made = {name for node in graph.node for name in node.output} - outputs
        graph.value_info.extend(note for note in notes if note.name in made)


def _generated(signature: Signature) -> Iterator[Tensors]:
    try:
        for rows in _ROWS:
            yield generated_request(signature, rows)
    except NoRequestError:
        return


def _answers(
    source: SourceModel, signature: Signature, requests: Sequence[Tensors], path: str
) -> list[dict[str, Array] | None]:
    """What the engine answers to each request, None where it refuses one.

    Raises:
        EngineError: It does not load the model.
    """
    session = make_session(source.model.SerializeToString(), source.folder, passing_options(source.model), path)
    names = [spec.name for spec in signature.outputs]
    found: list[dict[str, Array] | None] = []
    for feeds in requests:
        try:
            found.append(run_interruptibly(session, names, feeds, path))
        except EngineError:
            found.append(None)
    return found


def _is_alike(expected: Sequence[dict[str, Array] | None], found: Sequence[dict[str, Array] | None]) -> bool:
    if len(expected) != len(found):
        return False
    return all(
        one is None or (other is not None and all(_is_close(array, other[name]) for name, array in one.items()))
        for one, other in zip(expected, found, strict=True)
    )


def _is_close(one: Array, other: Array) -> bool:
    import numpy as np

    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    return bool(np.allclose(other, one, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True))
