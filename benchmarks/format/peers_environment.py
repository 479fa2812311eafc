"""The peers' own environment, made when it is first needed; it is never part of Hyperion's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROOT

ENVIRONMENT = ROOT / ".cache" / "peers-venv"
WANTED = Path(__file__).with_name("peers.txt")
_DONE = ENVIRONMENT / "installed.txt"


class PeersUnavailableError(RuntimeError):
    """The environment cannot be made; the message says why."""


def peers_python() -> Path:
    """The interpreter of an environment that holds what peers.txt names.

    Raises:
        PeersUnavailableError: No network, no disk, no such release.
    """
    python = ENVIRONMENT / "bin" / "python"
    if _DONE.is_file() and _DONE.read_text() == WANTED.read_text():
        return python
    print(f"installing the peers into {ENVIRONMENT.relative_to(ROOT)} (about 400 MB, once)", flush=True)
    _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(WANTED)])
    _DONE.write_text(WANTED.read_text())
    return python


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (subprocess.CalledProcessError, OSError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise PeersUnavailableError(f"its environment could not be made: {said[-1] if said else error}") from error
