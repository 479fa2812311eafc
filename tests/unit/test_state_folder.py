"""The state folder is private and one user's own."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hyperion.adapters.files.state_folder import claim_state, make_private
from hyperion.errors import HostError


def test_a_missing_folder_is_made_private(tmp_path: Path) -> None:
    path = claim_state(tmp_path / "deep" / "home")

    assert path.is_absolute()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert claim_state(path) == path


def test_the_folders_above_a_private_one_are_private_too(tmp_path: Path) -> None:
    make_private(tmp_path / "home" / "reports" / "shop")
    make_private(tmp_path / "home" / "reports" / "shop")

    for folder in ("home", "home/reports", "home/reports/shop"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(HostError):
        claim_state(tmp_path / "home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize(("uid", "name"), [(1, "daemon"), (54_321, "#54321")])
def test_another_users_folder_is_refused_with_the_sudo_line(uid: int, name: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", uid, -1)

    with pytest.raises(HostError) as refused:
        claim_state(tmp_path / "home")

    assert refused.value.code == "host.foreign_state"
    assert f"sudo -u {name} " in (refused.value.hint or "")
