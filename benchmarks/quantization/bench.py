"""What the benchmarks of one run share: a folder, and every package, made once by the installed command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.measure import HYPERION
from benchmarks.quantization.recipe import Recipe, Runner

WITHIN_BUDGET = "auto within a budget"
BUDGET = 0.005
"""Half a point of accuracy."""


class RefusedError(RuntimeError):
    """The command refused; the message is its own."""


@dataclass(frozen=True)
class Packaged:
    """One package.

    Attributes:
        path: Of the file.
        summary: What ``package model --json`` said.
    """

    path: Path
    summary: dict

    @property
    def weights_bytes(self) -> int:
        """Of all entries under ``weights/``."""
        import hyperion

        with hyperion.open_package(self.path) as package:
            entries = package.manifest.entries
            return sum(entry.size_bytes for name, entry in entries.items() if name.startswith("weights/"))

    @cached_property
    def runner(self) -> Runner:
        """The loaded package, one thread."""
        import hyperion

        return hyperion.load_model(self.path).run


@dataclass
class Bench:
    """One run; close it to remove what it wrote."""

    folder: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="hyperion-bench-", dir=os.environ.get("BENCH_DIR")))
    )
    _made: dict[tuple[str, str], Packaged] = field(default_factory=dict)

    def __post_init__(self) -> None:
        os.environ["HYPERION_HOME"] = str(self.folder / "state")

    def packaged(self, recipe: Recipe, scheme: str) -> Packaged:
        """The recipe's model, packaged as ``--quantize SCHEME``, or searched for WITHIN_BUDGET.

        Raises:
            RefusedError: Packaging failed.
        """
        found = self._made.get((recipe.key, scheme))
        if found is None:
            found = self._package(recipe, scheme)
            self._made[recipe.key, scheme] = found
        return found

    def _package(self, recipe: Recipe, scheme: str) -> Packaged:
        name = f"{recipe.key}-{scheme.replace(' ', '-')}"
        searched = scheme == WITHIN_BUDGET
        model = recipe.write(self.folder / name, budget=BUDGET if searched else None)
        output = self.folder / f"{name}.hyperion"
        words = ["package", "model", "--input", str(model), "--output", str(output)]
        words += ["--quantize", "auto" if searched else scheme, "--json"]
        if scheme == "static-int8":
            words += ["--dataset", str(recipe.write_rows(self.folder / f"{name}-rows"))]
        done = subprocess.run([HYPERION, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise RefusedError(f"{recipe.title}, {scheme}: {last[0]}")
        return Packaged(output, json.loads(done.stdout))

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
