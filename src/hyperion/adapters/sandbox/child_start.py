"""Children that are given a folder and an environment, and nothing else of ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

OUTPUT_TEXT = "child.log"
"""What the child says, in its folder."""


def start_child(module: str, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Run a module on a folder, in a session of its own, so that all that it starts can be ended with it."""
    with (folder / OUTPUT_TEXT).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(folder)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
