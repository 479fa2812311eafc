"""One live deployment, shared by all tests that only look at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.end_to_end.shell import Shell
from tests.models import write_dataset, write_model_dir
from tests.ports import free_port


@dataclass(frozen=True)
class Live:
    """A shell in whose folder ``model.hyperion`` 1.0.0 is deployed as ``current_model`` at ``url``."""

    shell: Shell
    url: str

    @property
    def folder(self) -> Path:
        return self.shell.folder


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with ``model_dir``, its package ``model.hyperion``, and ``test_data``."""
    shell = Shell(tmp_path_factory.mktemp("workspace"))
    write_model_dir(shell.folder / "model_dir")
    write_dataset(shell.folder / "test_data")
    shell.made("package", "model", "--input", "model_dir", "--output", "model.hyperion")
    return shell


@pytest.fixture(scope="session")
def live(workspace: Shell) -> Iterator[Live]:
    """The workspace with its package deployed; stopped at the end."""
    port = free_port()
    write_config(workspace.folder / "deployment.json", name="current_model", port=port)
    try:
        workspace.ok("deploy", "model", "--input", "model.hyperion", "--config", "deployment.json")
        yield Live(workspace, f"http://127.0.0.1:{port}")
    finally:
        workspace("stop", "--all")


def write_config(path: Path, *, name: str, port: int, **more: object) -> Path:
    """A deployment.json."""
    path.write_text(json.dumps({"name": name, "serve": {"port": port}, "drain_timeout_s": 5.0, **more}))
    return path
