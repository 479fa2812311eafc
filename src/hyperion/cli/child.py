"""Entry of the sandbox's child, ``python -m hyperion.cli.child FOLDER``: not for people, so without click."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Do the job that lies in ``folder``."""
    from hyperion.adapters.sandbox.child_work import confine_child, load_job, perform
    from hyperion.adapters.sandbox.parent_death import die_with_parent

    job = load_job(folder)
    die_with_parent(job.parent)

    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.host.hardware_counters import HardwareCounters

    engine = OnnxRuntimeEngine()
    engine.version()  # imports the engine now, so that its own memory is not counted as the model's
    counters = HardwareCounters()  # opening them is among what is refused from then on
    confinement = confine_child(folder, job)
    perform(folder, job, engine, LocalPackages(), counters, confinement)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
