"""What the benchmarks of one run share: a folder, the model and its packages, and a process that runs Hyperion."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.format.children import Child
from benchmarks.format.models import MIB, layer_count, write_model

COMMAND = "python -m benchmarks.format"
OPERATIONS = "benchmarks.format.operations"


@dataclass
class Bench:
    """One run. Inputs are made when they are first asked for; close it to remove them all.

    Attributes:
        size_mb: Of the large model, in MiB.
        folder: Where everything is written; on the disk of ``BENCH_DIR``, or of the temporary folder.
    """

    size_mb: int
    folder: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="hyperion-bench-", dir=os.environ.get("BENCH_DIR")))
    )

    @property
    def size(self) -> str:
        """The size, for titles."""
        return f"{self.size_mb / 1024:g} GiB" if self.size_mb >= 1024 else f"{self.size_mb} MiB"

    @cached_property
    def child(self) -> Child:
        """A process that has imported all of Hyperion."""
        return self.start()

    def start(self) -> Child:
        """A process of its own, with nothing done in it but imports."""
        return Child(OPERATIONS, environment={"HYPERION_HOME": str(self.folder / "state")})

    @cached_property
    def model(self) -> Path:
        """The large model directory, in layers of 64 MiB."""
        return write_model(self.folder / "model", layer_count(self.size_mb), 64 * MIB)

    @cached_property
    def package(self) -> Path:
        """The large model, packaged."""
        return self.packaged(self.model)

    @cached_property
    def extracted(self) -> Path:
        """The same package as a directory."""
        output = self.folder / "extracted"
        self.child.call("extract", source=str(self.package), output=str(output), durable=True)
        return output

    def packaged(self, model: Path) -> Path:
        """Any model directory, packaged beside it, on the disk for good."""
        output = model.with_suffix(".hyperion")
        self.child.call("package", source=str(model), output=str(output), durable=True)
        return output

    def close(self) -> None:
        if "child" in vars(self):
            self.child.close()
        shutil.rmtree(self.folder, ignore_errors=True)
