"""Ctrl-C while deploying, whenever it comes: exit 130, a defined outcome, and a revision that serves throughout."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.conftest import Live, write_config
from tests.end_to_end.shell import Shell, ask, eventually
from tests.models import write_model_dir
from tests.ports import free_port


@pytest.fixture(scope="module")
def swapping(workspace: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A deployment ``swapped`` of its own, and two packages, ``a`` and ``b``, to go to and fro between."""
    shell = Shell(tmp_path_factory.mktemp("swapping"))
    port = free_port()
    write_config(shell.folder / "deployment.json", name="swapped", port=port)
    for seed, name in enumerate("ab"):
        write_model_dir(shell.folder / name, seed=seed, version=f"1.{seed}.0")
        shell.made("package", "model", "--input", name, "--output", f"{name}.hyperion", "--quantize", "none")
    try:
        shell.ok("deploy", "model", "--input", "a.hyperion", "--config", "deployment.json")
        yield Live(shell, f"http://127.0.0.1:{port}")
    finally:
        shell("stop", "--all")


def settled(live: Live) -> bool:
    found = live.shell.status()["deployments"][0]
    revisions = {worker["revision"] for worker in found["workers"] if worker["state"] == "accepting"}
    desired, active = (found["deployment"][key] for key in ("desired_revision", "active_revision"))
    return bool(found["serving"] and not found["updating"] and desired == active and revisions == {active})


def read_until(process: subprocess.Popen[str], moment: str) -> str:
    """What the command says on stderr up to the line with ``moment``."""
    assert process.stderr is not None
    said = ""
    while moment not in said:
        text = process.stderr.readline()
        assert text, said
        said += text
    return said


@pytest.mark.parametrize("moment", ["Checking digests", "Load and run", "Roll out", "spawn:", "prove:"])
def test_ctrl_c_while_deploying_ends_with_130_and_a_defined_outcome(swapping: Live, moment: str) -> None:
    serving = ask(f"{swapping.url}/v2/models/swapped")["versions"][0]
    other = {"1.0.0": "b", "1.1.0": "a"}[serving]
    before = set(swapping.folder.iterdir())

    process = swapping.shell.start("deploy", "model", "--input", f"{other}.hyperion", "--config", "deployment.json")
    said = read_until(process, moment)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, out + said + err
    assert "Traceback" not in err
    eventually(lambda: settled(swapping))
    now = ask(f"{swapping.url}/v2/models/swapped")["versions"][0]
    if moment in ("Checking digests", "Load and run"):  # nothing had been asked of the supervisor
        assert now == serving
    elif moment != "Roll out":  # the supervisor had begun: it goes on, and the command said so
        assert now != serving
        assert "goes on without this command: 'hyperion history swapped'" in err
    assert set(swapping.folder.iterdir()) == before


def test_ctrl_c_while_rolling_back_lets_the_supervisor_finish(swapping: Live, tmp_path: Path) -> None:
    swapping.shell.made("backup", "model", "--name", "swapped", "--output", tmp_path)

    process = swapping.shell.start("rollback", "model", "--backup", tmp_path / "swapped", "--reason", "a test")
    read_until(process, "spawn:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "goes on without this command" in err
    eventually(lambda: settled(swapping))
    assert swapping.shell.status()["deployments"][0]["active"]["origin"] == "rollback"
