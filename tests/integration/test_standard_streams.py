"""A command that is started with a closed standard stream, as schedulers and wrappers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(tmp_path: Path, closed: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A command whose stream ``closed`` was closed before it began; the other ones are read."""
    return subprocess.run(
        [sys.executable, "-m", "hyperion", *arguments],
        check=False,
        env={**os.environ, "HYPERION_HOME": str(tmp_path / "home")},
        capture_output=True,
        preexec_fn=lambda: os.close(closed),
        timeout=60,
    )


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_changes_neither_the_work_nor_the_exit_code(tmp_path: Path, closed: int) -> None:
    assert run(tmp_path, closed, "key", "add", "shop").returncode == 0
    ended = run(tmp_path, closed, "key", "add", "shop")

    assert ended.returncode == 6
    assert b"Traceback" not in ended.stderr
    assert (b"key.exists" in ended.stderr) == (closed != 2)


def test_what_is_printed_lands_in_no_file_that_took_the_closed_streams_number(tmp_path: Path) -> None:
    token = run(tmp_path, 2, "key", "add", "shop").stdout
    run(tmp_path, 1, "key", "add", "other")

    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or (b"hyp_" not in path.read_bytes() and token not in path.read_bytes())
