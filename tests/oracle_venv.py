"""Public tools that judge our output, in environments of their own under .cache/; offline their tests are skipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CACHE = Path(__file__).parent.parent / ".cache" / "oracles"
INSTALL_TIMEOUT_S = 600

MODEL_SIGNING = ("model-signing==1.1.1", "pyOpenSSL")
"""The OpenSSF Model Signing library; it uses pyOpenSSL without asking for it."""
CYCLONEDX = ("cyclonedx-python-lib[json-validation]==11.12.0",)
"""The official schemas and a strict validator."""
TRITON_CLIENT = ("tritonclient[http]==2.73.0",)
"""NVIDIA's client of the Open Inference Protocol, as its users have it."""


def oracle(*requirements: str) -> Path:
    """The ``bin`` folder of an environment that holds these requirements; skips the test where it cannot be made."""
    folder = CACHE / requirements[0].replace("==", "-")
    ready = folder / "ready"
    if not ready.is_file():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(folder / "bin" / "pip"), "install", "--quiet", *requirements],
        ):
            try:
                made = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"{requirements[0]} cannot be installed: {error}")
            if made.returncode:
                last = made.stderr.strip().splitlines()[-1:] or ["no reason given"]
                pytest.skip(f"{requirements[0]} cannot be installed: {last[0]}")
        ready.touch()
    return folder / "bin"
