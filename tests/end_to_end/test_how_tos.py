"""The how-to guides of deployments as they are written: each command, pasted in its order, does what is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import onnx
import pytest
from examples.traffic import Request, Traffic
from onnx import TensorProto, helper
from tests.certificates import make_pair
from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import HYPERION, Shell
from tests.how_to import Command, NamedFile, missing, steps_of
from tests.models import FEATURES, write_model_dir
from tests.ports import free_port

pytestmark = pytest.mark.slow


THEN = "2026-11-23 03:24 Europe/Berlin"
"""The time of which a how-to asks what was live."""
END_SUPERVISOR = """
pid=$(hyperion status --json | python -c 'import json, sys; print(json.load(sys.stdin)["supervisor"]["pid"])')
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
"""


class Reader:
    """Who follows a how-to: a shell in a folder of their own, at places of this machine that are free.

    Args:
        folder: Theirs.
        instead: What they type in place of what stands there.
    """

    def __init__(self, folder: Path, instead: dict[str, str]) -> None:
        self.shell = Shell(folder)
        self.folder = folder
        self.port = free_port()
        self._instead = {"8080": str(self.port), "8081": str(free_port()), "8443": str(free_port()), **instead}

    def has(self, name: str, *versions: str) -> None:
        """Packages NAME-VERSION.hyperion, each with other weights."""
        for seed, version in enumerate(versions):
            folder = write_model_dir(self.folder / f"{name}-{version}", seed, name=name, version=version)
            self.shell.made("package", "model", "--input", folder, "--output", f"{name}-{version}.hyperion")

    def serves(self, name: str, version: str, **config: object) -> None:
        config_file = write_config(self.folder / "deployment.json", name=name, port=self.port, **config)
        self.shell.ok("deploy", "model", "--input", f"{name}-{version}.hyperion", "--config", config_file)

    def follow(self, how_to: str) -> None:
        """Do all that it says, and demand that all comes out as it shows."""
        faults = []
        for step in steps_of(how_to):
            if not isinstance(step, Command):
                self._write(step)
                continue
            shown = Command(self._typed(step.text), tuple(map(self._typed, step.shown)), step.exit_code)
            done = self._run(shown.text)
            left = missing(shown, done.stdout)
            if done.returncode != shown.exit_code or left:
                faults.append(
                    f"$ {shown.text}\nexit code {done.returncode}, expected {shown.exit_code}; not printed: {left}\n"
                    f"{done.stdout}"
                )
        assert not faults, "\n\n".join(faults)

    def _write(self, file: NamedFile) -> None:
        document = json.loads(self._typed(file.text))
        document.setdefault("serve", {}).setdefault("port", self.port)
        if "socket" in document["serve"]:
            del document["serve"]["port"]
        (self.folder / file.name).write_text(json.dumps(document))

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=180,
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        found = self.shell.environment
        return found | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"}

    def _typed(self, text: str) -> str:
        for before, after in {**self._instead, THEN: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"}.items():
            text = text.replace(before, after)
        return text

    def traffic(self, model: str) -> AbstractContextManager[object]:
        """Clients that ask without pause for as long as it lasts."""
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, FEATURES], "data": [0.5] * FEATURES}]}
        return Traffic(self.port, model, [Request(json.dumps(body).encode(), lambda _: None)], pause_s=0.005)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    local = datetime.now(UTC)
    other_day = (local + timedelta(days=3)).strftime("%a").lower()
    reader = Reader(
        tmp_path,
        {
            "/mnt/other": f"{tmp_path}/other",
            "/srv/backup": f"{tmp_path}/backup",
            "/run/fraud": f"{tmp_path}/run",
            "/etc/hyperion": f"{tmp_path}/etc",
            '"mon", "tue", "wed", "thu"': f'"{other_day}"',
            "mon-thu": other_day,
            "kill SUPERVISOR": END_SUPERVISOR,
        },
    )
    yield reader
    subprocess.run([*HYPERION, "stop", "--all"], env=reader.environment, check=False, capture_output=True, timeout=60)


@pytest.mark.timeout(400)
def test_roll_out_in_steps(reader: Reader) -> None:
    reader.has("shop", "1.0.0", "1.1.0")
    reader.serves("shop", "1.0.0")

    with reader.traffic("shop"):
        reader.follow("roll-out-in-steps")


@pytest.mark.timeout(400)
def test_back_up(reader: Reader) -> None:
    reader.has("mnist-cnn", "1.0.0", "1.1.0")
    reader.serves("mnist-cnn", "1.0.0")
    reader.shell.ok("backup", "model", "--name", "mnist-cnn", "--output", "backup/")
    reader.serves("mnist-cnn", "1.1.0")
    reader.follow("back-up")


@pytest.mark.timeout(400)
def test_roll_back(reader: Reader) -> None:
    reader.has("mnist-cnn", "1.0.0", "1.1.0")
    reader.serves("mnist-cnn", "1.0.0")
    reader.shell.ok("backup", "model", "--name", "mnist-cnn", "--output", "backup/")
    reader.serves("mnist-cnn", "1.1.0")

    with reader.traffic("mnist-cnn"):
        reader.follow("roll-back")


@pytest.mark.timeout(400)
def test_deploy_in_a_window(reader: Reader) -> None:
    reader.has("shop", "1.0.0", "1.1.0")
    reader.serves("shop", "1.0.0")
    reader.follow("deploy-in-a-window")


@pytest.mark.timeout(400)
def test_several_deployments(reader: Reader) -> None:
    (reader.folder / "run").mkdir()
    reader.has("shop", "1.0.0", "1.1.0")
    reader.has("fraud", "1.0.0")
    reader.serves("shop", "1.0.0", workers=2, memory={"budget_mb": 512})
    reader.follow("several-deployments")


@pytest.mark.timeout(400)
def test_lock_the_doors(reader: Reader) -> None:
    make_pair().put(reader.folder / "etc")
    reader.has("mnist", "1.0.0")
    reader.follow("lock-the-doors")


@pytest.mark.timeout(400)
def test_send_binary_tensors(reader: Reader) -> None:
    folder = write_model_dir(reader.folder / "shop", name="shop", golden=False, model=of_images())
    reader.shell.made("package", "model", "--input", folder, "--output", "shop-1.0.0.hyperion")
    reader.serves("shop", "1.0.0")
    reader.follow("send-binary-tensors")


def of_images() -> onnx.ModelProto:
    """The mean of each channel of an image."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
