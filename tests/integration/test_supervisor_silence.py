"""A supervisor that hangs is told from one that is busy: no command waits for the first forever."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from tests.serving_kit import ledger_events, supervisor

from hyperion.adapters.service import control_client
from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.domain.command import Command, Ping, Reply, Status, Stop
from hyperion.errors import HostError
from hyperion.serving import control
from hyperion.serving.control import ControlServer, Tell


@pytest.mark.parametrize("command", [Ping(), Status(), Stop(name=None, actor="tests")], ids=lambda found: found.kind)
def test_a_supervisor_that_hangs_is_given_up_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    with supervisor(tmp_path) as running:
        monkeypatch.setattr(control_client, "SILENCE_S", 0.3)  # one that only starts may take longer
        running.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(HostError) as caught:
                running.client.ask(command)
        finally:
            running.process.send_signal(signal.SIGCONT)

    assert caught.value.code == "supervisor.silent"
    assert "supervisor.lock" in str(caught.value.hint)


def test_a_rollout_that_says_nothing_for_long_is_waited_for(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_life, asked = SupervisorClient._require_life, []

    def require_life_patiently(client: SupervisorClient) -> None:
        with monkeypatch.context() as calm:
            calm.setattr(control_client, "SILENCE_S", 20.0)  # on a busy host a ping, too, takes longer than 0.05 s
            require_life(client)
        asked.append(client)

    with supervisor(tmp_path) as running:
        with monkeypatch.context() as hasty:
            hasty.setattr(control_client, "SILENCE_S", 0.05)  # a worker's start takes several times as long
            hasty.setattr(SupervisorClient, "_require_life", require_life_patiently)
            assert running.deploy(packages / "v1.hyperion").promoted
        assert asked
        assert ledger_events(tmp_path)


def test_a_client_that_says_nothing_does_not_keep_the_supervisor_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REQUEST_S", 0.1)

    async def never(_command: Command, _tell: Tell) -> Reply:
        raise AssertionError

    async def talk() -> tuple[bytes, bool]:
        server = ControlServer(tmp_path / "control.sock", never)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await server.stop()
        return said, server.busy

    assert asyncio.run(talk()) == (b"", False)
