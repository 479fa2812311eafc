"""A worker, just as the supervisor starts one, that tries on the way to do what no model should be able to.

What came of it goes to its log (stderr) as one line of JSON when it is proven; then it serves like any other. Run as
``python -m tests.probing_worker CONTROL_FD LISTENER_FD`` with PROBE_PORT and PROBE_SOCKET in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hyperion.cli import worker
from hyperion.serving.duty import Duty

_serve = Duty.serve


def probes(state: Path, port: int, door: str) -> dict[str, Callable[[], object]]:
    """Each by what it tries; ``port`` and ``door`` (a unix socket) belong to somebody who listens."""
    parent = os.getppid()
    return {
        "write /tmp": lambda: Path("/tmp/hyperion-probe").write_text("x"),  # noqa: S108
        "read /etc/passwd": lambda: Path("/etc/passwd").read_text(),
        "read the keys": (state / "keys.json").read_text,
        "list the state folder": lambda: list(state.iterdir()),
        "write into the store": lambda: (state / "blobs" / "x").write_text("x"),
        "read the parent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", port), 1),
        "connect to the supervisor": lambda: _to_unix(door),
        "bind": lambda: socket.create_server(("127.0.0.1", 0)),
        "signal the parent": lambda: os.kill(parent, signal.SIGCONT),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "become a program": lambda: os.execv("/bin/true", ["/bin/true"]),  # noqa: S606
        "fork": os.fork,
        "become root": lambda: os.setresuid(0, 0, 0),
        "make its folder everybody's": lambda: (state / "metrics" / "shop").chmod(0o777),
    }


def _to_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(path)


def _outcome(probe: Callable[[], object]) -> str:
    try:
        probe()
    except OSError as error:
        return type(error).__name__
    return "done"


async def _probe_and_serve(self: Duty) -> None:
    tried = probes(Path(os.environ["HYPERION_HOME"]), int(os.environ["PROBE_PORT"]), os.environ["PROBE_SOCKET"])
    found = {name: _outcome(probe) for name, probe in tried.items()}
    sys.stderr.write(json.dumps({"probes": found, "uid": os.getuid()}) + "\n")
    sys.stderr.flush()
    await _serve(self)


if __name__ == "__main__":
    Duty.serve = _probe_and_serve  # type: ignore[method-assign]
    sys.exit(worker.main(sys.argv[1:]))
