"""An environment beside Hyperion's, for what only benchmarks need: torch, and onnxscript's onnx_ir."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.downloads import UnavailableError

from benchmarks.measure import ROOT

ENVIRONMENT = ROOT / ".cache" / "torch-venv"


def torch_python() -> Path:
    """The interpreter of an environment with torch, onnx, onnxruntime and onnxscript.

    Raises:
        UnavailableError: It cannot be made.
    """
    python = ENVIRONMENT / "bin" / "python"
    if python.is_file() and _has_torch(python):
        return python
    print(f"installing torch into {ENVIRONMENT.relative_to(ROOT)} (once)", flush=True)
    if not python.is_file():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(ENVIRONMENT)], "no environment for torch")
    wanted = ["torch", "onnx", "onnxruntime", "onnxscript", "numpy"]
    run([str(python), "-m", "pip", "install", "--quiet", *wanted], "torch cannot be installed")
    return python


def _has_torch(python: Path) -> bool:
    command = [str(python), "-c", "import torch, onnx, onnxruntime, onnxscript"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(command: list[str], what: str) -> None:
    """A command that must succeed.

    Raises:
        UnavailableError: It does not; the message is ``what`` with the last line of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UnavailableError(f"{what}: {last[0]}")
