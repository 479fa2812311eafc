"""A worker of other software than its supervisor says so; "ended with exit status 0" would help nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hyperion import __version__
from hyperion.serving.channel import CannotServe, ToSupervisor, parse_report


def first_words(state: Path, order: bytes) -> tuple[ToSupervisor | None, int]:
    """What a worker answers to its first order, and its exit status."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hyperion.cli.worker", str(theirs.fileno()), str(listener.fileno())],
            env=os.environ | {"HYPERION_HOME": str(state)}, pass_fds=(theirs.fileno(), listener.fileno()),
        )  # fmt: skip
        theirs.close()
        ours.settimeout(20)
        if order:
            ours.sendall(order)
        else:
            ours.shutdown(socket.SHUT_WR)
        with ours.makefile("rb") as stream:
            line = stream.readline()
        return (parse_report(line) if line else None), process.wait(60)


@pytest.mark.parametrize(
    "order",
    [
        b'{"type":"start","version":99}\n',
        b'{"type":"begin","version":2}\n',
        b'{"type":"lame_duck","deadline_s":1.0}\n',
        b"nonsense\n",
    ],
)
def test_an_order_of_another_version_is_refused_by_name(tmp_path: Path, order: bytes) -> None:
    said, status = first_words(tmp_path, order)

    assert isinstance(said, CannotServe)
    assert "supervisor and worker are of different versions" in said.reason
    assert f"hyperion {__version__}" in said.reason
    assert "hyperion serve" in said.reason
    assert status == 1


def test_a_worker_whose_supervisor_is_gone_ends_without_a_word(tmp_path: Path) -> None:
    assert first_words(tmp_path, b"") == (None, 0)
