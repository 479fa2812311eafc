"""Entry of a worker process: ``python -m hyperion.cli.worker CONTROL_FD LISTENER_FD``, started by the supervisor."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence


def main(arguments: Sequence[str]) -> int:
    """Serve one revision until the supervisor says otherwise; returns the exit status."""
    from hyperion import __version__
    from hyperion.adapters.sandbox.confinement import refuse_io_uring
    from hyperion.bootstrap import open_worker_parts
    from hyperion.serving.worker import run_worker

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a worker leaves when its supervisor says so, or is gone
    control, listener = (_inherited(int(number)) for number in arguments)
    parts = open_worker_parts()
    refuse_io_uring()  # before there is an event loop
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run_worker(parts, control, listener, __version__))


def _inherited(descriptor: int) -> socket.socket:
    found = socket.socket(fileno=descriptor)
    found.set_inheritable(False)
    found.setblocking(False)
    return found


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
