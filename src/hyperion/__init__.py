"""Hyperion: from a trained model to a verified, monitored, reversible production service.

    import hyperion

    hyperion.package("model_dir", "model.hyperion")
    model = hyperion.load_model("model.hyperion")
    outputs = model.run({"x": x})

Names are resolved when they are first used: ``import hyperion`` loads neither numpy nor an engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from hyperion.domain.finding import Finding, Outcome, Report
    from hyperion.domain.loss import Metric
    from hyperion.domain.manifest import Manifest
    from hyperion.domain.scheme import QuantizeChoice
    from hyperion.domain.tensor import TensorSpec
    from hyperion.errors import HyperionError
    from hyperion.format.package import PackageReader
    from hyperion.format.views import StoredTensor
    from hyperion.usecases.load import LoadedModel
    from hyperion.usecases.package import PackageSummary

__version__ = "0.1.0"

__all__ = [
    "Finding",
    "HyperionError",
    "LoadedModel",
    "Manifest",
    "Outcome",
    "PackageReader",
    "PackageSummary",
    "Report",
    "StoredTensor",
    "TensorSpec",
    "__version__",
    "load_model",
    "open_package",
    "package",
    "verify",
]

_MODULES = {
    "Finding": "hyperion.domain.finding",
    "HyperionError": "hyperion.errors",
    "LoadedModel": "hyperion.usecases.load",
    "Manifest": "hyperion.domain.manifest",
    "Outcome": "hyperion.domain.finding",
    "PackageReader": "hyperion.format.package",
    "PackageSummary": "hyperion.usecases.package",
    "Report": "hyperion.domain.finding",
    "StoredTensor": "hyperion.format.views",
    "TensorSpec": "hyperion.domain.tensor",
}


def package(
    input_dir: str | PathLike[str],
    output: str | PathLike[str],
    quantize: QuantizeChoice | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    author: str | None = None,
    description: str | None = None,
    license: str | None = None,  # noqa: A002 - the manifest's own word
    parent: str | PathLike[str] | None = None,
    platform: str | None = None,
    dataset: str | PathLike[str] | None = None,
    metric: Metric | None = None,
    max_loss: float | None = None,
    max_class_loss: float | None = None,
    seed: int | None = None,
    task: str | None = None,
    trust_pickle: bool = False,
    trusted_types: Sequence[str] = (),
) -> PackageSummary:
    """Pack a model directory into one ``.hyperion`` file.

    Args:
        input_dir: Folder with ``model.onnx`` and, where there are some, hyperion.json, config/, assets/, golden/; or a
            model of another tool, which is converted in a sandbox (Hugging Face, scikit-learn, PyTorch).
        output: File to write; an existing package is replaced, anything else is not touched.
        quantize: ``auto``, ``int8``, ``w8``, ``w4``, ``static-int8``, ``fp16`` or ``none``; by default what
            config/quantization.json says, else ``auto``.
        name: Metadata given here goes before hyperion.json.
        version: Semantic version.
        author: Who made the model.
        description: What it does.
        license: SPDX identifier.
        parent: The package that this one follows.
        platform: Target such as ``linux/amd64``, or a profile file.
        dataset: Folder of NPZ or CSV files to calibrate, choose and judge on; it is split into disjoint sets.
        metric: Of the budget: ``accuracy``, ``f1``, ``top1``, ``cosine`` or ``kl``.
        max_loss: What quantizing may cost at most; nothing is written where it costs more.
        max_class_loss: What it may cost any one class in recall.
        seed: Of the split.
        task: Of a Hugging Face model: ``embedding``, ``sequence-classification`` or ``token-classification``; by
            default what its files say.
        trust_pickle: Whether code in a pickle may run, in the sandbox.
        trusted_types: Types of a skops file beyond those that skops itself trusts.

    Returns:
        Layers with their schemes and sizes, why anything stayed in float, digest, warnings.

    Raises:
        HyperionError: With a stable code and a hint; see ``hyperion.errors``.
    """
    from pathlib import Path

    from hyperion.adapters.host.silent_reporter import SilentReporter
    from hyperion.bootstrap import open_host
    from hyperion.ports import ConversionOptions
    from hyperion.usecases.package import PackageOptions, package_model
    from hyperion.usecases.packaging import BudgetOptions

    options = PackageOptions(
        Path(input_dir), Path(output), quantize, name=name, version=version, author=author, description=description,
        license=license, parent=None if parent is None else Path(parent), platform=platform,
        budget=BudgetOptions(None if dataset is None else Path(dataset), metric, max_loss, max_class_loss, seed),
        conversion=ConversionOptions(trust_pickle, tuple(trusted_types), task),
    )  # fmt: skip
    return package_model(open_host(), options, SilentReporter())


def open_package(path: str | PathLike[str]) -> PackageReader:
    """Open a package file, an extracted directory or a backup folder; use it as a context manager.

    Structure and manifest are checked, payloads are neither read nor proven. ``package.manifest`` is what it says of
    itself, ``package.view(name)`` an entry as a read-only memoryview of the mapped file, ``package.tensors()`` every
    stored tensor, ``package.read(name)`` a proven copy of an entry's bytes.

    Raises:
        HyperionError: Nothing is there, or it is no whole package.
    """
    from pathlib import Path

    from hyperion.adapters.files.package_files import LocalPackages

    return LocalPackages().open(Path(path))


def load_model(path: str | PathLike[str], threads: int = 1, *, check: bool = True, full: bool = False) -> LoadedModel:
    """Load a package for inference in this process; weights are mapped from where they lie.

    Args:
        path: A package file or directory, which must stay there while the model is in use.
        threads: Of the engine, for one request.
        check: Whether every entry must have its digest. What this host proved before, in files that are unchanged
            since, is not read again (docs/explanation/integrity.md); the rest is read at the speed of sha256.
        full: Whether to read also what was proven before.

    Raises:
        HyperionError: It is no package, a broken one, or the engine refuses it.
    """
    from pathlib import Path

    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.engine.prepared_graphs import PreparedGraphs
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.processing.route import LocalProcessors
    from hyperion.adapters.store.proof_record import SqliteProofRecord
    from hyperion.bootstrap import state_dir
    from hyperion.usecases.load import load_model as load

    state = state_dir()
    proofs, clock = SqliteProofRecord(state), SystemClock()
    packages, processors = LocalPackages(), LocalProcessors()
    engine = OnnxRuntimeEngine(PreparedGraphs(state, __version__))
    return load(
        packages, engine, Path(path), threads, processors=processors, proofs=proofs, clock=clock, check=check, full=full
    )


def verify(
    path: str | PathLike[str],
    *,
    dataset: str | PathLike[str] | None = None,
    platform: str | None = None,
    full: bool = False,
) -> Report:
    """Verify a package: structure, digests, configs, loading in a child, golden requests.

    Args:
        path: A package file or directory.
        dataset: With a dataset folder, speed and accuracy on it are measured instead.
        platform: With a target such as ``linux/arm64`` or a profile file, compatibility is checked instead.
        full: Whether to read also what was proven before, in files that are unchanged since.

    Returns:
        All findings; ``report.ok`` says whether nothing failed.

    Raises:
        HyperionError: The question cannot be answered, such as where nothing is at ``path``.
    """
    from pathlib import Path

    from hyperion.adapters.host.silent_reporter import SilentReporter
    from hyperion.bootstrap import open_host
    from hyperion.usecases.verify import verify_compatibility, verify_model, verify_performance

    if dataset is not None and platform is not None:
        raise TypeError("verify takes dataset or platform, not both")
    if dataset is not None:
        return verify_performance(open_host(), Path(path), Path(dataset), SilentReporter())
    if platform is not None:
        return verify_compatibility(open_host(), Path(path), platform)
    return verify_model(open_host(), Path(path), SilentReporter(), full=full)


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
