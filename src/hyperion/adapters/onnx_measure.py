"""Measuring forms of a model against the float one, in the engine itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.adapters.onnx_samples import Samples, collect_samples, rows_of
from hyperion.adapters.onnx_source import SourceModel
from hyperion.adapters.onnxruntime_session import make_session, run_interruptibly
from hyperion.domain.scheme import Agreement, rounded
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.ports import GoldenSource, SessionOptions
from hyperion.quantization.agreement import Likeness, are_probabilities, compare_rows
from hyperion.quantization.recognition import scores_classes
from hyperion.verification.golden import Golden, compare, is_finite

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession


@dataclass(frozen=True, slots=True)
class Measured:
    """One form of a model against the float one.

    Attributes:
        agreement: None where nothing could be compared.
        error: Relative error of the compared output.
        unmet: What differs in golden requests that the float model meets, by name.
    """

    agreement: Agreement | None
    error: float
    unmet: Mapping[str, str]


class FormMeasure:
    """Compares forms of one model on the same inputs.

    Attributes:
        samples: These inputs, with the float model's answers.
        finite_outputs: Outputs that hold no NaN or infinity in any of these answers.
    """

    def __init__(self, source: SourceModel, signature: Signature, golden: Sequence[GoldenSource], path: str) -> None:
        self._folder = source.folder
        self._signature = signature
        self._path = path
        self._names = [spec.name for spec in signature.outputs]
        session = self._session(source.model)
        self.samples: Samples = collect_samples(
            source.model, signature, golden, lambda feeds: run_interruptibly(session, self._names, feeds, path)
        )
        self.finite_outputs = tuple(
            name
            for name in self._names
            if self.samples.answers and all(is_finite(answer[name]) for answer in self.samples.answers)
        )
        self._scores = _class_scores(source.model, signature, self.samples)
        # What the float model does not meet either says nothing about a scheme; packaging warns of it anyway.
        self._binding = tuple(
            request
            for request in golden
            if request.outputs
            and compare(_as_golden(request), run_interruptibly(session, self._names, request.inputs, path)).ok
        )

    def compared_output(self) -> TensorSpec | None:
        """The class scores, or the first floating-point output that is compared."""
        floats = [spec for spec in self._signature.outputs if spec.dtype.startswith("float")]
        return self._scores or (floats[0] if floats else None)

    def measure(self, model: ModelProto) -> Measured:
        """Load a form and compare it.

        Raises:
            EngineError: The engine refuses it.
        """
        session = self._session(model)
        output = self.compared_output()
        total, golden_rows = Likeness(), 0
        if output is not None:
            classes = self._scores is not None
            for index, (feeds, answer) in enumerate(zip(self.samples.feeds, self.samples.answers, strict=True)):
                found = run_interruptibly(session, [output.name], feeds, self._path)
                total += compare_rows(answer[output.name], found[output.name], classes=classes)
                golden_rows += rows_of(feeds) if index < self.samples.golden else 0
        return Measured(self._agreement(output, total, golden_rows), total.error, self._unmet(session))

    def _agreement(self, output: TensorSpec | None, total: Likeness, golden_rows: int) -> Agreement | None:
        if output is None or not total.rows:
            return None
        return Agreement(
            measure="cosine" if self._scores is None else "top1",
            value=max(-1.0, min(1.0, rounded(total.value))),
            output=output.name,
            rows=total.rows,
            golden_rows=min(golden_rows, total.rows),
        )

    def _unmet(self, session: InferenceSession) -> dict[str, str]:
        found = {}
        for request in self._binding:
            answer = run_interruptibly(session, self._names, request.inputs, self._path)
            comparison = compare(_as_golden(request), answer)
            if comparison.fault is not None:
                found[request.name] = comparison.fault
        return found

    def _session(self, model: ModelProto) -> InferenceSession:
        return make_session(model.SerializeToString(), self._folder, SessionOptions(), self._path)


def _class_scores(model: ModelProto, signature: Signature, samples: Samples) -> TensorSpec | None:
    """The output that holds class scores: labels are named, the graph chooses by it, or its rows are probabilities.

    Without any of these, [batch, n] may as well be an embedding.
    """
    found = signature.class_output()
    if found is None or signature.labels is not None or scores_classes(model, found.name):
        return found
    rows = [answer[found.name] for answer in samples.answers]
    return found if rows and all(are_probabilities(part) for part in rows) else None


def _as_golden(request: GoldenSource) -> Golden:
    return Golden(request.name, request.request, request.inputs, request.outputs)
