"""What deployments leave on this host is their user's alone."""

from __future__ import annotations

import stat

from tests.end_to_end.conftest import Live


def test_the_state_folder_that_a_deploy_made_is_closed_to_other_users(live: Live) -> None:
    assert stat.S_IMODE((live.folder / "home").stat().st_mode) == 0o700
