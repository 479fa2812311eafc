"""``systemd-analyze verify``, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

LONGEST_S = 30.0


def verify_units(paths: Sequence[Path], *, user: bool) -> tuple[bool | None, tuple[str, ...]]:
    """Whether systemd understands the unit files, and what it says of them.

    Returns:
        None and the reason where the tool does not exist or does not answer; systemd exits with 0 also where it
        ignores a line, so only silence about our files is a pass.
    """
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return None, ("systemd-analyze is not installed here",)
    command = [tool, *(["--user"] if user else []), "--man=no", "verify", *map(os.fspath, paths)]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            found = subprocess.run(
                command,
                env={"XDG_RUNTIME_DIR": scratch} | os.environ,  # it wants one, also where nobody is logged in
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_S,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, (f"systemd-analyze could not be run: {error}",)
    names = {path.name for path in paths}
    said = tuple(line for line in found.stderr.splitlines() if any(name in line for name in names))
    if found.returncode and not said:
        return None, tuple(found.stderr.splitlines()[-3:]) or (f"systemd-analyze ended with {found.returncode}",)
    return not said, said
