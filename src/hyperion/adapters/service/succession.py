"""A fresh supervisor in place of this one: exec, which keeps the pid that a service manager knows."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from hyperion.adapters.files.file_lock import SupervisorLock
from hyperion.errors import HostError
from hyperion.ports import ServiceManager


def give_way(lock: SupervisorLock, manager: ServiceManager) -> NoReturn:
    """Become the software as it is installed now, started as this process was.

    The supervisor's lock and the service manager's sockets go along; every other descriptor is closed by the kernel,
    so each worker sees the end of its channel and waits for whoever comes.

    Raises:
        HostError: The program cannot be started (code ``host.process``); the workers serve on.
    """
    environ = os.environ | dict(manager.hand_over()) | lock.hand_over()
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        raise HostError(
            f"the fresh supervisor could not be started: {sys.executable}: {error.strerror}",
            hint="the workers serve on; 'hyperion serve' starts a supervisor that adopts them",
            code="host.process",
        ) from error
