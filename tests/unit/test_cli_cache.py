"""``hyperion cache`` on an empty host and on one with an image that nobody vouches for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hyperion.cli.root import root


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def strange_image(state: Path) -> Path:
    """A folder where an image would be, with a name that no ledger holds."""
    folder = state / "images" / ("0" * 64)
    folder.mkdir(parents=True)
    for private in (state, state / "images", folder):
        private.chmod(0o700)
    (folder / "image.json").write_text("{\x1b[31m}")
    return folder


@pytest.mark.parametrize("command", ["list", "size", "verify", "prune", "clear"])
@pytest.mark.usefixtures("state")
def test_a_host_without_images_answers(command: str) -> None:
    done = CliRunner().invoke(root, ["cache", command])

    assert (done.exit_code, done.exception) == (0, None)
    assert "0 host images" in done.stdout


def test_an_image_that_the_ledger_does_not_know_is_a_no(state: Path) -> None:
    strange_image(state)

    done = CliRunner().invoke(root, ["cache", "verify", "--json"], standalone_mode=False)

    assert done.return_value == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert [image["state"] for image in found["images"]] == ["faulty"]


def test_pruning_removes_it(state: Path) -> None:
    folder = strange_image(state)

    done = CliRunner().invoke(root, ["cache", "prune"])

    assert done.exit_code == 0
    assert not folder.exists()


@pytest.mark.usefixtures("state")
def test_a_limit_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERION_IMAGE_LIMIT_MB", "much")

    done = CliRunner().invoke(root, ["cache", "list"])

    assert "HYPERION_IMAGE_LIMIT_MB" in str(done.exception)
