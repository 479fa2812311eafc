"""Loading a package to run it in this very process."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.manifest import Manifest
from hyperion.domain.tensor import TensorSpec
from hyperion.format.side_by_side import available_cores
from hyperion.ports import Array, Clock, Engine, PackageOpener, ProofRecord, Session, SessionOptions, Tensors
from hyperion.verification.proof import prove_package


class LoadedModel:
    """A model that is ready to run.

    Attributes:
        manifest: What its package says of it.
        digest: The package's digest.
    """

    def __init__(self, session: Session, manifest: Manifest, digest: str) -> None:
        self._session = session
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

    def __repr__(self) -> str:
        return f"<LoadedModel {self.manifest.name} {self.manifest.version} {self.digest[:19]}>"


def load_model(
    packages: PackageOpener,
    engine: Engine,
    path: Path,
    threads: int = 1,
    *,
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
        proofs: What was proven before, and is not read again while it is unchanged.
        clock: Dates what is proven now.
        check: Whether to check every entry's digest first, at the speed of sha256.
        full: Whether to read also what was proven before.

    Raises:
        NotFoundError: Nothing is there.
        DigestMismatchError: An entry is damaged or was edited.
        PackageError: It is no package, or a broken one.
        EngineError: The engine refuses the model.
    """
    with packages.open(path) as package:
        if check:
            prove_package(package, proofs, clock, recall=not full, threads=available_cores()).require()
        session = engine.load(package, SessionOptions(threads=threads))
        return LoadedModel(session, package.manifest, package.digest)
