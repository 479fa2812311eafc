"""A supervisor that too many talk to: it says so, keeps its descriptors, and is well again afterwards."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults.hosts import few_descriptors
from tests.serving_kit import Foreground, call, eventually, infer_body, supervisor

from hyperion.adapters.service import control_client
from hyperion.errors import ConflictError, HostError
from hyperion.serving.control import MOST_CLIENTS

DESCRIPTORS = 64


def connections(running: Foreground, count: int, until_the_end: ExitStack) -> int:
    """Connect that many times and say nothing; how many could."""
    for number in range(count):
        end = until_the_end.enter_context(socket.socket(socket.AF_UNIX))
        end.settimeout(1.0)
        try:
            end.connect(str(running.state / "run" / "control.sock"))
        except OSError:
            return number
    return count


def test_one_client_too_many_is_told_so_and_there_is_room_again_when_the_others_go(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        with ExitStack() as clients:
            assert connections(running, MOST_CLIENTS, clients) == MOST_CLIENTS
            with pytest.raises(ConflictError) as refusal:
                running.status()
            assert refusal.value.code == "control.crowded"

        eventually(lambda: answers(running), what="an answer once there is room")


def test_used_up_descriptors_stop_no_worker_and_fill_no_log(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_client, "SILENCE_S", 0.5)
    with ExitStack() as until_the_end:
        with few_descriptors(DESCRIPTORS):
            running = until_the_end.enter_context(supervisor(tmp_path))
        url = running.deploy(packages / "v1.hyperion").url
        with ExitStack() as clients:
            connections(running, 2 * DESCRIPTORS, clients)
            with pytest.raises((ConflictError, HostError)):
                running.status()
            assert call(f"{url}/v2/models/shop/infer", infer_body())[0] == 200

        eventually(lambda: answers(running), what="an answer once there is room")
        assert running.deploy(packages / "v2.hyperion").promoted
        assert (tmp_path / "supervisor.out").stat().st_size < 100_000


def answers(running: Foreground) -> bool:
    try:
        return bool(running.status().pid)
    except (ConflictError, HostError):
        return False
