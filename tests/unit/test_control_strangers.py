"""The supervisor's socket asks the kernel whose a client is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hyperion.domain.command import Command, Ping, Pong, Progress, Reply
from hyperion.serving.control import ControlServer

NOBODY = 65534
CLIENT = """
import os, socket, sys
if len(sys.argv) > 2:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
end = socket.socket(socket.AF_UNIX)
end.connect(sys.argv[1])
end.sendall(b'{"protocol": 1, "command": {"kind": "ping"}}\\n')
sys.stdout.write(end.makefile().readline())
"""


async def _asked(path: Path, *user: str) -> dict[str, object]:
    async def handle(command: Command, _tell: Callable[[Progress], None]) -> Reply:
        assert isinstance(command, Ping)
        return Pong(pid=1, version="x")

    server = ControlServer(path, handle)
    await server.start()
    os.chmod(path, 0o666)  # noqa: PTH101, S103  (as if the folder's privacy had been lost)
    try:
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, str(path), *user, stdout=subprocess.PIPE, cwd="/"
        )
        said, _ = await client.communicate()
    finally:
        await server.stop()
    found: dict[str, object] = json.loads(said)
    return found


@pytest.fixture
def door() -> Iterator[Path]:
    """A place that everybody reaches, which pytest's own folders are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "s"


def test_ones_own_client_is_answered(tmp_path: Path) -> None:
    assert asyncio.run(_asked(tmp_path / "s"))["kind"] == "pong"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_client_is_refused_by_name(door: Path) -> None:
    found = asyncio.run(_asked(door, str(NOBODY)))
    details = found["details"]
    assert isinstance(details, dict)
    assert found["kind"] == "refused"
    assert details["code"] == "control.foreign_user"
    assert f"you are user {NOBODY}" in details["message"]
