"""The peers' own environments under .cache/serving-peers, made when they are first needed; never part of Hyperion's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROOT

FOLDER = ROOT / ".cache" / "serving-peers"
MLSERVER = ("mlserver==1.7.1", "uvloop<0.22", "onnxruntime==1.31.1")
"""With uvloop 0.22 MLServer's default worker dies in a loop."""
TRITON = ("nvidia-pytriton==0.7.0", "onnxruntime==1.31.1")


class PeerUnavailableError(RuntimeError):
    """A peer cannot be had here; the message says why."""


def mlserver_python() -> Path:
    """An interpreter that has MLServer.

    Raises:
        PeerUnavailableError: No network, no disk, no such release.
    """
    return _environment("mlserver", sys.executable, MLSERVER)


def triton_python() -> Path:
    """An interpreter that has PyTriton: a system's own, with a shared libpython, as Triton's stub needs.

    Raises:
        PeerUnavailableError: There is no such interpreter, or what mlserver_python says.
    """
    system = next((found for name in ("3.11", "3.12", "3.10") if (found := shutil.which(f"/usr/bin/python{name}"))), "")
    if not system:
        raise PeerUnavailableError("it needs a system Python with its shared library in /usr/bin")
    return _environment("pytriton", system, TRITON)


def _environment(name: str, interpreter: str, wanted: tuple[str, ...]) -> Path:
    folder = FOLDER / name
    python, done = folder / "bin" / "python", folder / "installed.txt"
    text = "\n".join(wanted)
    if done.is_file() and done.read_text() == text:
        return python
    print(f"installing {wanted[0]} into {folder.relative_to(ROOT)} (about 400 MB, once)", flush=True)
    for command in ([interpreter, "-m", "venv", folder], [python, "-m", "pip", "install", "--quiet", *wanted]):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (subprocess.CalledProcessError, OSError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            reason = said[-1] if said else str(error)
            raise PeerUnavailableError(f"its environment could not be made: {reason}") from error
    done.write_text(text)
    return python
