"""``hyperion run``: raw inputs or tensors through a package, here and now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.domain.document import Document
from hyperion.domain.manifest import PROCESSING
from hyperion.domain.prediction import Prediction
from hyperion.domain.processing import Processing
from hyperion.domain.raw_input import RawInputs, RawTexts
from hyperion.errors import ConfigError, NotFoundError, Problem
from hyperion.format.package import PackageReader
from hyperion.format.raw_tensors import are_raw, parse_raw_inputs
from hyperion.format.side_by_side import available_cores
from hyperion.format.tensor_json import DATATYPE_OF, TensorJsonError, parse_tensor, tensor_data
from hyperion.ports import Host, Processor, Reporter, Session, SessionOptions
from hyperion.usecases.load import BATCH_ROWS, run_raw
from hyperion.usecases.run_feeds import dataset_feeds, not_finite, require_fit
from hyperion.usecases.run_input import (
    DataFile,
    JsonRequest,
    batches_of,
    json_rows,
    passed_over,
    read_csv,
    read_json,
    read_npz,
)
from hyperion.verification.proof import prove_package

if TYPE_CHECKING:
    from hyperion.ports import Array

_LISTED = 10


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the person asked for: texts, or one file.

    Attributes:
        model: A package file or directory, or the name of a deployment.
        texts: One for each row.
        pairs: Second texts of pairs, as many; empty where there are none.
        file: Rows or tensors.
        batch_rows: Rows in one run of the engine.
        threads: Of the engine.
    """

    model: Path
    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    file: DataFile | None = None
    batch_rows: int = BATCH_ROWS
    threads: int = 1


class OutputTensor(Document):
    """One output of the model, as the Open Inference Protocol v2 writes it."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any]
    """Flat, in row-major order; what is no finite number is null."""


class RunAnswer(Document):
    """What the model says."""

    name: str
    version: str
    digest: str
    rows: int
    """Of raw inputs; 0 for tensors, which need not have rows."""
    predictions: tuple[Prediction, ...] | None
    """One for each row of raw inputs; None for tensors."""
    outputs: tuple[OutputTensor, ...] | None
    """For tensors; None for raw inputs."""
    cut: tuple[int, ...]
    """Rows whose text was longer than the model takes."""


def run_model(host: Host, options: RunOptions, reporter: Reporter) -> RunAnswer:
    """Run a package on what a person has.

    Raises:
        NotFoundError: There is no such package, deployment or file.
        ConfigError: The inputs are none that the model takes; names file, row and column.
        PackageError: The package is broken.
        IncompatibleError: The engine of this host does not know what the model is made of, or refuses it.
        EngineError: The engine or the tokenizer fails.
    """
    with _opened(host, options.model) as package:
        with reporter.stage("Checking the package"):
            prove_package(package, host.proofs, host.clock, recall=True, threads=available_cores()).require()
        with reporter.stage("Loading the model"):
            session = host.engine.load(package, SessionOptions(threads=options.threads, interruptible=True))
        with reporter.stage("Running"):
            return _Run(host, package, session, options, reporter).run()


@contextmanager
def _opened(host: Host, model: Path) -> Iterator[PackageReader]:
    """The package at a path, or else the active one of the deployment of that name."""
    if not model.exists():
        named = (deployment for deployment in host.ledger.deployments() if deployment.name == str(model))
        found = next(named, None)
        if found is not None and found.active_revision is not None:
            with host.store.open(host.ledger.revision(found.name, found.active_revision).digest) as package:
                yield package
            return
        raise NotFoundError(
            f"there is no package at {model}, and no deployment of that name is active",
            hint="check the path, or see 'hyperion status' for names",
            code="package.not_found",
        )
    with host.packages.open(model) as package:
        yield package


class _Run:
    """One run, from what was given to the answer."""

    def __init__(
        self, host: Host, package: PackageReader, session: Session, options: RunOptions, reporter: Reporter
    ) -> None:
        self._host = host
        self._package = package
        self._session = session
        self._options = options
        self._reporter = reporter
        self._made: Processor | None = None

    def run(self) -> RunAnswer:
        """Raw inputs become predictions, tensors become tensors."""
        file, size = self._options.file, self._options.batch_rows
        if file is None:
            pairs = self._options.pairs or None
            return self._predicted(iter([RawTexts(self._options.texts, pairs)]))
        if file.kind == "csv":
            return self._predicted(read_csv(file, self._processor().processing, size, self._tell_passed_over))
        if file.kind == "npz":
            return self._computed(dataset_feeds(read_npz(file), self._session.inputs, file.name), file.name)
        found = read_json(file)
        if not isinstance(found, JsonRequest):
            self._tell_passed_over([name for row in found if isinstance(row, dict) for name in row])
            return self._predicted(iter([json_rows(found, self._processor().processing)]))
        return self._requested(found, file.name)

    def _requested(self, request: JsonRequest, source: str) -> RunAnswer:
        """A v2 request, with tensors or with raw inputs, as a server would take it."""
        inputs = {spec.name: spec for spec in self._session.inputs}
        processing = self._processing(needed=any(tensor.name not in inputs for tensor in request.inputs))
        try:
            if processing is not None and are_raw(request.inputs, processing, inputs):
                return self._predicted(iter([parse_raw_inputs(request.inputs, processing)]))
            feeds = {given.name: parse_tensor(given.datatype, given.shape, given.data) for given in request.inputs}
        except TensorJsonError as error:
            fault = str(error)
            raise ConfigError(f"{source}: {fault}", problems=[Problem("inputs", fault)], code="input.json") from error
        return self._computed(feeds, source)

    def _predicted(self, inputs: Iterator[RawInputs]) -> RunAnswer:
        processor = self._processor()
        predictions: list[Prediction] = []
        cut: list[int] = []
        for part in inputs:
            for encoded, outputs in run_raw(processor, self._session, part, self._options.batch_rows):
                cut += [len(predictions) + row for row in encoded.cut]
                predictions += processor.predictions(encoded, outputs)
        if cut:
            rows = ", ".join(map(str, cut[:_LISTED])) + (", …" if len(cut) > _LISTED else "")
            self._reporter.warn(f"texts that are longer than the model takes were cut: {len(cut)}, in rows {rows}")
        return self._answer(rows=len(predictions), predictions=tuple(predictions), cut=tuple(cut))

    def _computed(self, feeds: Mapping[str, Array], source: str) -> RunAnswer:
        import numpy as np

        session = self._session
        require_fit(feeds, session.inputs, source)
        runs = [
            session.run(part) for part in batches_of(feeds, session.inputs, session.outputs, self._options.batch_rows)
        ]
        whole = {
            name: runs[0][name] if len(runs) == 1 else np.concatenate([outputs[name] for outputs in runs])
            for name in runs[0]
        }
        for warning in not_finite(whole):
            self._reporter.warn(warning)
        return self._answer(outputs=tuple(_tensor(name, array) for name, array in whole.items()))

    def _processing(self, *, needed: bool) -> Processing | None:
        """The package's processing; None where it has none that can be used and it is not ``needed``."""
        try:
            return self._processor().processing
        except ConfigError:
            if needed:
                raise
            return None

    def _processor(self) -> Processor:
        """What raw inputs need.

        Raises:
            ConfigError: The package takes none.
        """
        if self._made is None:
            self._made = self._host.processors.open(self._package)
        if self._made is None:
            raise ConfigError(
                f"{self._package.source} takes tensors only: it holds no {PROCESSING}",
                hint="send tensors with --npz or --json, or package the model with a config/processing.json",
                code="processing.missing",
            )
        return self._made

    def _tell_passed_over(self, names: Sequence[str]) -> None:
        left = passed_over(list(dict.fromkeys(names)), self._processor().processing)
        if left:
            more = ", …" if len(left) > _LISTED else ""
            self._reporter.warn(f"passed over, as the model does not take them: {', '.join(left[:_LISTED])}{more}")

    def _answer(self, **found: Any) -> RunAnswer:
        manifest = self._package.manifest
        empty: dict[str, Any] = {"rows": 0, "predictions": None, "outputs": None, "cut": ()}
        about = {"name": manifest.name, "version": manifest.version, "digest": self._package.digest}
        return RunAnswer(**(empty | about | found))


def _tensor(name: str, array: Array) -> OutputTensor:
    import numpy as np

    dtype = "string" if array.dtype.kind in "OUS" else array.dtype.name
    data = tensor_data(array)
    return OutputTensor(
        name=name,
        shape=tuple(array.shape),
        datatype=DATATYPE_OF.get(dtype, dtype.upper()),
        data=data.tolist() if isinstance(data, np.ndarray) else data,
    )
