"""Packages that may not be read, and folders that may not be written in: what the commands say of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.packages import write_package
from tests.partial_host import files_host
from tests.permissions import permissions_hold

from hyperion.cli.main import run
from hyperion.domain.version import Step
from hyperion.errors import HostError
from hyperion.usecases.version import update_version


@pytest.mark.parametrize("command", [["inspect"], ["verify", "integrity"], ["verify", "model", "--input"]])
def test_a_package_that_may_not_be_read_is_a_fault_of_the_host(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda *_args, **_options: False)  # as click asks, for any user but root
    path = write_package(tmp_path / "p.hyperion")
    path.chmod(0)

    with permissions_hold():
        code = run([*command, str(path), "--json"])

    error = json.loads(capsys.readouterr().out)["error"]
    assert (code, error["code"]) == (9, "host.permission")
    assert error["hint"]


def test_a_package_with_hard_links_says_why_its_folder_must_be_written_in(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    package = write_package(folder / "p.hyperion")
    os.link(package, tmp_path / "other")
    folder.chmod(0o500)

    with permissions_hold(), pytest.raises(HostError) as refused:
        update_version(files_host(tmp_path), package, Step.PATCH, None)

    assert refused.value.code == "host.permission"
    assert refused.value.message == (
        f"cannot write {package}: no permission to make files in the folder {folder}: Permission denied; "
        "the file has 2 hard links, so that its change needs a copy beside it"
    )
