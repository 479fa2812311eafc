"""Loading a package to run it in this very process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.domain.manifest import PROCESSING, Manifest
from hyperion.domain.raw_input import Cell, RawInputs, RawTable, RawTexts, refused_input
from hyperion.domain.tensor import TensorSpec
from hyperion.errors import ConfigError, ConflictError
from hyperion.format.side_by_side import available_cores
from hyperion.ports import (
    Array,
    Clock,
    Encoded,
    Engine,
    PackageOpener,
    Processor,
    Processors,
    ProofRecord,
    Session,
    SessionOptions,
    Tensors,
)
from hyperion.verification.proof import prove_package

if TYPE_CHECKING:
    from hyperion.domain.prediction import Prediction

BATCH_ROWS = 32
"""Rows in one run of the engine: more took much memory and little less time."""

GivenRow = str | tuple[str, str] | Mapping[str, Cell]
"""A text, a pair of texts, or a row of a table by the names of its columns."""


class LoadedModel:
    """A model that is ready to run.

    Attributes:
        manifest: What its package says of it.
        digest: The package's digest.
    """

    def __init__(self, session: Session, manifest: Manifest, digest: str, processing: ProcessingSource) -> None:
        self._session = session
        self._processing = processing
        self.manifest = manifest
        self.digest = digest

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of every input."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of every output."""
        return self._session.outputs

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """All outputs for these inputs, by name.

        Raises:
            EngineError: An input is missing, unknown or does not fit, or the engine fails.
        """
        return self._session.run(feeds)

    def predict(self, rows: Sequence[GivenRow], *, batch_rows: int = BATCH_ROWS) -> tuple[Prediction, ...]:
        """What the model says of texts, pairs of texts, or rows of a table, as config/processing.json has it.

        Args:
            rows: All of one kind.
            batch_rows: Rows in one run of the engine; a model with a fixed batch size has its own.

        Returns:
            One ClassPrediction, SpanPrediction or VectorPrediction for each row (``hyperion.domain.prediction``).

        Raises:
            ConfigError: The package has no processing (code ``processing.missing``) or none that can be used
                (``processing.unusable``), or rows do not fit (``input.invalid``).
            EngineError: The tokenizer or the engine fails.
        """
        return tuple(
            prediction
            for encoded, outputs in run_raw(self.processor, self._session, raw_inputs(rows), batch_rows)
            for prediction in self.processor.predictions(encoded, outputs)
        )

    @property
    def processor(self) -> Processor:
        """What stands between raw inputs and tensors, made when it is first asked for.

        Raises:
            ConfigError: There is none, or none that can be used.
            ConflictError: Another package lies where this one was loaded from (code ``package.changed``).
        """
        return self._processing.processor()

    def __repr__(self) -> str:
        return f"<LoadedModel {self.manifest.name} {self.manifest.version} {self.digest[:19]}>"


class ProcessingSource:
    """Where a model's processor comes from; most models are loaded without ever needing it.

    Args:
        processors: Makes it.
        packages: Opens the package again.
        path: The package.
        digest: That it must still have.
    """

    def __init__(self, processors: Processors, packages: PackageOpener, path: Path, digest: str) -> None:
        self._processors = processors
        self._packages = packages
        self._path = path
        self._digest = digest
        self._made: Processor | None = None

    def processor(self) -> Processor:
        """See LoadedModel.processor."""
        if self._made is None:
            with self._packages.open(self._path) as package:
                if package.digest != self._digest:
                    raise ConflictError(
                        f"{self._path} is another package now than the one that was loaded",
                        hint="load it again",
                        code="package.changed",
                    )
                self._made = self._processors.open(package)
        if self._made is None:
            raise ConfigError(
                f"{self._path} takes tensors only: it holds no {PROCESSING}",
                hint="send tensors, or package the model with a config/processing.json",
                code="processing.missing",
            )
        return self._made


def run_raw(
    processor: Processor, session: Session, inputs: RawInputs, batch_rows: int
) -> Iterator[tuple[Encoded, dict[str, Array]]]:
    """The tensors of raw inputs and the model's outputs for them, batch by batch.

    Raises:
        ConfigError: Rows do not fit (code ``input.invalid``).
        EngineError: The tokenizer or the engine fails.
    """
    if inputs.rows == 0:
        raise refused_input(["there are no rows: expected at least one"])
    for part in inputs.slices(processor.batch_rows(batch_rows)):
        encoded = processor.encode(part)
        yield encoded, session.run(encoded.feeds)


def raw_inputs(rows: Sequence[GivenRow], first_row: int = 0) -> RawInputs:
    """Rows as a person holds them, as values.

    Raises:
        ConfigError: They are not all of one kind (code ``input.invalid``).
    """
    if isinstance(rows, str):
        raise refused_input(["expected a list of texts or rows, found one text"])
    kinds = {_kind(row) for row in rows}
    if len(kinds) > 1 or None in kinds:
        raise refused_input(["rows must be all texts, all pairs of texts, or all mappings from columns to values"])
    if "table" in kinds:
        tables = [row for row in rows if isinstance(row, Mapping)]
        names = dict.fromkeys(name for row in tables for name in row)
        return RawTable({name: [row.get(name) for row in tables] for name in names}, len(tables), first_row)
    if "pair" in kinds:
        pairs = [row for row in rows if isinstance(row, (tuple, list))]
        return RawTexts([pair[0] for pair in pairs], [pair[1] for pair in pairs], first_row)
    return RawTexts([row for row in rows if isinstance(row, str)], first_row=first_row)


def _kind(row: object) -> str | None:
    if isinstance(row, str):
        return "text"
    if isinstance(row, (tuple, list)) and len(row) == 2:
        return "pair"
    return "table" if isinstance(row, Mapping) else None


def load_model(
    packages: PackageOpener,
    engine: Engine,
    path: Path,
    threads: int = 1,
    *,
    processors: Processors,
    proofs: ProofRecord,
    clock: Clock,
    check: bool = True,
    full: bool = False,
) -> LoadedModel:
    """Load a package file or directory in place; it must stay where it is while the model is in use.

    Args:
        packages: Opens it.
        engine: Loads it.
        path: A package file or directory.
        threads: Of the engine, for one request.
        processors: Make what stands between raw inputs and tensors, once it is asked for.
        proofs: What was proven before, and is not read again while it is unchanged.
        clock: Dates what is proven now.
        check: Whether to check every entry's digest first, at the speed of sha256.
        full: Whether to read also what was proven before.

    Raises:
        NotFoundError: Nothing is there.
        DigestMismatchError: An entry is damaged or was edited.
        PackageError: It is no package, or a broken one.
        IncompatibleError: The engine of this host does not know what the model is made of, or refuses it.
        EngineError: The engine refuses the model.
    """
    with packages.open(path) as package:
        if check:
            prove_package(package, proofs, clock, recall=not full, threads=available_cores()).require()
        session = engine.load(package, SessionOptions(threads=threads))
        processing = ProcessingSource(processors, packages, path, package.digest)
        return LoadedModel(session, package.manifest, package.digest, processing)
