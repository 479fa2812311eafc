"""`make hostile-models`: every crafted model and every mutation, packaged and verified; the sum is last.

python -m tests.hostile.models_run [--every N] [--mutations M]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.hostile.models_corpus import crafted, good_architecture, mutated_architectures, mutated_sources
from tests.hostile.models_trial import packages, sources, try_all
from tests.models import write_model_dir

MEBIBYTE = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.models_run", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--mutations", type=int, default=120, metavar="M")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-models-") as folder:
        room = Path(folder)
        good = extracted_package(room)
        models = list(crafted())[:: options.every]
        cases = sources([*models, *mutated_sources(options.mutations)], room)
        cases += packages(mutated_architectures(good_architecture(good), options.mutations), good, room)
        found = try_all(cases, room)
    for outcome, count in found.outcomes.most_common():
        sys.stdout.write(f"  {count:4} {outcome}\n")
    for fault in found.faults:
        sys.stdout.write(f"FAULT {fault}\n")
    sys.stdout.write(
        f"hostile-models: {len(models)} crafted models and {len(cases) - len(models)} mutations, "
        f"{found.outcomes['the caller died']} crashes of the caller, {len(found.faults)} faults; "
        f"slowest {found.slowest[0]:.1f} s ({found.slowest[1]}), largest child {found.peak_bytes / MEBIBYTE:.0f} MiB, "
        f"the caller {found.own_peak_bytes / MEBIBYTE:.0f} MiB; {time.monotonic() - began:.0f} s in all\n"
    )
    return 1 if found.faults else 0


def extracted_package(room: Path) -> Path:
    """A good package as a folder."""
    import hyperion
    from hyperion.bootstrap import open_host
    from hyperion.usecases.extract import extract_model
    from tests.fakes.reporter import CollectingReporter

    hyperion.package(write_model_dir(room / "good"), room / "good.hyperion", quantize="none")
    extract_model(open_host(room / "home"), room / "good.hyperion", room / "tree", CollectingReporter())
    return room / "tree"


if __name__ == "__main__":
    sys.exit(main())
