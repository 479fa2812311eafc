"""Every write and every fsync of every scenario fails once: full disk, file too large, disk broken."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.crash.recorder import Failure, Kind
from tests.crash.scenario import Scenario

REFUSALS: tuple[tuple[Kind, int], ...] = (("write", errno.ENOSPC), ("write", errno.EFBIG), ("sync", errno.EIO))


def failures(scenario: Scenario, folder: Path) -> Iterator[str]:
    """The state after each of them, with the error that the user saw."""
    _, operations = scenario.record(folder / "recorded")
    for kind, code in REFUSALS:
        for number in range(sum(operation.kind == kind for operation in operations)):
            yield f"{errno.errorcode[code]}: {scenario.fail(folder / 'failed', Failure(kind, number, code))}"
            for used in ("failed", "scratch"):
                shutil.rmtree(folder / used, ignore_errors=True)
