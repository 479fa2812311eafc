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
    from hyperion.api import LoadedModel, load_model, open_package, package, verify
    from hyperion.domain.finding import Finding, Outcome, Report
    from hyperion.domain.manifest import Manifest
    from hyperion.domain.tensor import TensorSpec
    from hyperion.errors import HyperionError
    from hyperion.format.package import PackageReader
    from hyperion.usecases.package import PackageSummary

__version__ = "0.1.0"

_MODULES = {
    "Finding": "hyperion.domain.finding",
    "HyperionError": "hyperion.errors",
    "LoadedModel": "hyperion.api",
    "Manifest": "hyperion.domain.manifest",
    "Outcome": "hyperion.domain.finding",
    "PackageReader": "hyperion.format.package",
    "PackageSummary": "hyperion.usecases.package",
    "Report": "hyperion.domain.finding",
    "TensorSpec": "hyperion.domain.tensor",
    "load_model": "hyperion.api",
    "open_package": "hyperion.api",
    "package": "hyperion.api",
    "verify": "hyperion.api",
}

__all__ = [
    "Finding",
    "HyperionError",
    "LoadedModel",
    "Manifest",
    "Outcome",
    "PackageReader",
    "PackageSummary",
    "Report",
    "TensorSpec",
    "__version__",
    "load_model",
    "open_package",
    "package",
    "verify",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
