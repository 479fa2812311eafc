"""A control group in which the supervisor may limit its workers' memory, where this host lets us make one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hyperion.adapters.host.memory_cgroup import MOUNT, VARIABLE

VERSION_1 = MOUNT / "memory"


@contextmanager
def memory_group(*, wanted: bool) -> Iterator[None]:
    """Names a fresh group to the supervisors that are started within; skips where none can be made."""
    if not wanted:
        yield
        return
    group = VERSION_1 / f"hyperion-faults-{os.getpid()}"
    try:
        group.mkdir()
        limited = (group / "memory.limit_in_bytes").exists()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    if not limited:
        group.rmdir()
        pytest.skip("control groups limit no memory here")
    os.environ[VARIABLE] = str(group)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        _remove(group)


def _remove(group: Path) -> None:
    with suppress(OSError):
        for below in group.iterdir():
            if below.is_dir():
                below.rmdir()
        group.rmdir()
