"""An end to runs that take too long: a request must not occupy a worker for ever.

The engine looks at a run's terminate flag between two nodes, and so in every turn of a loop. One node that takes for
ever (a product of enormous matrices) it does not interrupt; then the process ends, and its supervisor starts another.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.adapters.engine.session import as_engine_error, engine_exceptions
from hyperion.errors import EngineError
from hyperion.ports import Array, Tensors

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, RunOptions

STUCK_STATUS = 75
"""Exit status of a process whose engine does not come back; EX_TEMPFAIL of sysexits.h."""
GRACE_S = 10.0
"""How long a run may go on after it was told to end."""
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Run:
    options: RunOptions
    ends_at: float
    told: bool = False


class RunWatch:
    """Ends the runs of a session that take longer than they may. For processes that somebody starts again.

    One thread looks; it sleeps until the time of the earliest run is up, and runs that end before cost no wake-up.

    Args:
        timeout_s: How long a run may take.
        grace_s: How long it may go on after it was told to end, before the process ends.
    """

    def __init__(self, timeout_s: float, grace_s: float = GRACE_S) -> None:
        import numpy as np
        import onnxruntime

        self._new_options = onnxruntime.RunOptions
        self._as_array = np.asarray
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._runs: dict[_Run, None] = {}
        self._lock = threading.Lock()
        self._watching = False

    def run(self, session: InferenceSession, names: list[str], feeds: Tensors, source: str) -> dict[str, Array]:
        """As ``run_session``.

        Raises:
            EngineError: Code ``engine.timeout`` where it took too long, else ``engine.run_failed``.
        """
        run = _Run(self._new_options(), time.monotonic() + self._timeout_s)
        self._begin(run)
        try:
            values = session.run(names, dict(feeds), run.options)
        except engine_exceptions() as error:
            if run.told:
                raise EngineError(
                    f"{source}: the run was ended after {self._timeout_s:g} s",
                    hint="look for a loop in the model, or allow more: request_timeout_s in the deployment's config",
                    code="engine.timeout",
                ) from error
            raise as_engine_error(error, f"{source}: the engine refused the request", "engine.run_failed") from error
        finally:
            self._runs.pop(run, None)
        return {name: self._as_array(value) for name, value in zip(names, values, strict=True)}

    def _begin(self, run: _Run) -> None:
        with self._lock:
            self._runs[run] = None
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="run watch", daemon=True).start()

    def _watch(self) -> None:
        """Until nothing runs: look at what runs, sleep until the earliest of it is due."""
        while True:
            now = time.monotonic()
            for run in list(self._runs):
                if not run.told and run.ends_at <= now:
                    run.told = True
                    run.options.terminate = True
                    run.ends_at = now + self._grace_s
                elif run.told and run.ends_at <= now:
                    _log.critical("a run does not end %g s after it was told to: the process ends", self._grace_s)
                    os._exit(STUCK_STATUS)
            with self._lock:
                due = min((run.ends_at for run in list(self._runs)), default=None)
                if due is None:
                    self._watching = False
                    return
            time.sleep(max(0.0, due - time.monotonic()))
