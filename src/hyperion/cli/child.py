"""Entry of the sandbox's child, ``python -m hyperion.cli.child FOLDER``: not for people, so without click."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Do the job that lies in ``folder``."""
    from hyperion.adapters.child_work import apply_limits, die_with_parent, load_job, perform

    job = load_job(folder)
    die_with_parent(job.parent)

    from hyperion.adapters.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.package_files import LocalPackages

    engine = OnnxRuntimeEngine()
    engine.version()  # imports the engine now, so that its own memory is not counted as the model's
    apply_limits(job)
    perform(folder, job, engine, LocalPackages())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
