"""What tests of accuracy budgets package with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import QUANTIZATION
from hyperion.domain.scheme import QuantizationRecord
from hyperion.format.quantization_json import read_quantization
from hyperion.ports import Host
from hyperion.usecases.package import PackageSummary
from hyperion.usecases.packaging import BudgetOptions
from tests.packaging import pack


def package(host: Host, folder: Path, output: Path, quantize: str | None = None, **budget: Any) -> PackageSummary:
    return pack(folder, output, quantize, host=host, budget=BudgetOptions(**budget))  # type: ignore[arg-type]


def policy(folder: Path, **keys: Any) -> Path:
    (folder / "config").mkdir(exist_ok=True)
    (folder / QUANTIZATION).write_text(json.dumps(keys))
    return folder


def record(path: Path) -> QuantizationRecord:
    with LocalPackages().open(path) as package:
        found = read_quantization(package)
    assert found is not None
    return found
