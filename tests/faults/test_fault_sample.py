"""A sample of the suite of faults (``make faults`` runs it whole): zero loss while things go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import bad_candidates, hosts, kills, swaps
from tests.faults.stage import Outcome, Packages


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


def held(outcome: Outcome) -> None:
    assert not outcome.faults, outcome.line()


def test_swaps_lose_no_request_of_any_client(tmp_path: Path, packages: Packages) -> None:
    held(swaps.swaps(tmp_path, packages, 2))


def test_warm_rollbacks_lose_no_request_and_leave_the_bad_revision_at_once(tmp_path: Path, packages: Packages) -> None:
    held(swaps.rollbacks(tmp_path, packages, 3, workers=2))


@pytest.mark.slow  # tests/integration/test_survival.py has two edges in `make test`
def test_a_supervisor_killed_when_the_candidate_is_proven_costs_no_request(tmp_path: Path, packages: Packages) -> None:
    held(kills.supervisor_at(tmp_path, packages, "gated"))


def test_a_candidate_that_crashes_on_live_requests_is_aborted(tmp_path: Path, packages: Packages) -> None:
    held(bad_candidates.in_canary(tmp_path, packages, "crashing"))


def test_queued_connections_survive_the_listeners_end(tmp_path: Path, packages: Packages) -> None:
    held(hosts.queued_connections(tmp_path, packages))
