"""Faults at the command line: a clean refusal, nothing half-written, and the old revision still serves."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import onnx
import pytest
from tests.end_to_end.conftest import Live, write_config
from tests.end_to_end.shell import HYPERION, Shell, ask, eventually, refused
from tests.models import mlp, write_model_dir
from tests.ports import free_port


def still_serving(live: Live) -> bool:
    return bool(ask(f"{live.url}/v2/models/current_model")["versions"] == ["1.0.0"])


def test_a_candidate_that_answers_nan_is_denied(live: Live, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "nan", version="9.0.0")
    onnx.save(mlp(nan=True), source / "model.onnx")  # its golden requests stay those of the sound model
    package = tmp_path / "nan.hyperion"
    live.shell.made("package", "model", "--input", source, "--output", package, "--quantize", "none")

    done = live.shell("deploy", "model", "--input", package, "--config", "deployment.json")

    refused(done, 1)
    assert "denied by model.golden" in done.stdout
    assert still_serving(live)


def test_a_model_over_its_memory_budget_takes_no_traffic(live: Live, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tight.json", name="tight", port=free_port(), memory={"budget_mb": 1})

    done = live.shell("deploy", "model", "--input", "model.hyperion", "--config", config)

    refused(done, 1)
    assert "denied by plan.memory" in done.stdout
    assert still_serving(live)


def test_of_two_deploys_at_once_one_wins_and_the_other_says_so(live: Live, tmp_path: Path) -> None:
    config = write_config(tmp_path / "twice.json", name="twice", port=free_port())
    for seed in (11, 12):
        source = write_model_dir(tmp_path / f"source{seed}", seed=seed, name="twin")
        live.shell.made("package", "model", "--input", source, "--output", tmp_path / f"{seed}.hyperion")

    both = [
        live.shell.start("deploy", "model", "--input", tmp_path / f"{seed}.hyperion", "--config", config)
        for seed in (11, 12)
    ]
    ends = [(process.communicate(timeout=90), process.returncode) for process in both]

    assert {code for _, code in ends} <= {0, 1, 6}, ends  # 1: the port was taken since, by the one that won
    assert 0 in {code for _, code in ends}
    assert "Traceback" not in str(ends)
    status = live.shell.status()["deployments"]
    assert next(item for item in status if item["deployment"]["name"] == "twice")["serving"] is True
    live.shell.ok("stop", "twice")


def test_a_file_that_cannot_grow_is_refused_and_leaves_nothing(workspace: Shell, tmp_path: Path) -> None:
    output = tmp_path / "folder" / "never.hyperion"
    output.parent.mkdir()
    words = shlex.join([*HYPERION, "package", "model", "--input", "model_dir", "--output", str(output)])

    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; exec {words}"], cwd=workspace.folder, env=workspace.environment,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    refused(done, 9)
    assert not list(output.parent.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_user_is_refused_with_the_way_out(workspace: Shell, tmp_path: Path) -> None:
    foreign = Shell(tmp_path)
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 12345, 12345)

    assert "sudo" in refused(foreign("status"), 9)


def test_a_worker_that_is_killed_is_replaced(live: Live) -> None:
    before = live.shell.status()["deployments"]
    workers = next(item for item in before if item["deployment"]["name"] == "current_model")["workers"]

    os.kill(workers[0]["pid"], signal.SIGKILL)

    def replaced() -> bool:
        items = live.shell.status()["deployments"]
        now = next(item for item in items if item["deployment"]["name"] == "current_model")
        return now["serving"] is True and [w["pid"] for w in now["workers"]] not in ([], [workers[0]["pid"]])

    eventually(replaced)
    assert still_serving(live)
    assert "worker.exited" in live.shell.ok("history", "current_model")


def test_the_supervisors_end_leaves_the_deployment_desired_and_serve_brings_it_back(tmp_path: Path, live: Live) -> None:
    shell = Shell(tmp_path)
    port = free_port()
    shutil.copy(live.folder / "model.hyperion", tmp_path / "model.hyperion")
    write_config(tmp_path / "deployment.json", name="again", port=port)
    try:
        shell.ok("deploy", "model", "--input", "model.hyperion", "--config", "deployment.json")
        os.kill(shell.status()["supervisor"]["pid"], signal.SIGTERM)
        eventually(lambda: shell.status()["supervisor"] is None)
        assert "no supervisor runs" in shell.ok("status")

        shell.ok("serve")

        eventually(lambda: shell.status()["deployments"][0]["serving"] is True)
        assert ask(f"http://127.0.0.1:{port}/v2/models/again")["versions"] == ["1.0.0"]
    finally:
        shell("stop", "--all")
