"""The checklist on requests in flight: a worker that leaves has longer than the longest of them."""

from __future__ import annotations

from typing import Any

import pytest

from hyperion.domain.config import DeploymentConfig, Limits
from hyperion.domain.finding import Outcome
from hyperion.verification.plan_drain import check_drain


def outcome(**config: Any) -> Outcome:
    return check_drain(DeploymentConfig(**config)).outcome


def test_by_default_a_worker_that_leaves_has_longer_than_the_longest_request() -> None:
    limits = DeploymentConfig().limits

    assert DeploymentConfig().drain_timeout_s > limits.header_timeout_s + limits.request_timeout_s
    assert outcome() is Outcome.PASSED


@pytest.mark.parametrize(
    "config",
    [{"drain_timeout_s": 39.0}, {"limits": Limits(request_timeout_s=40.0)}, {"limits": Limits(header_timeout_s=20.0)}],
)
def test_a_request_that_could_be_cut_is_warned_of(config: dict[str, Any]) -> None:
    finding = check_drain(DeploymentConfig(**config))

    assert (finding.outcome, finding.entry) == (Outcome.WARNED, "drain_timeout_s")
    assert "503" in str(finding.reason)


def test_shorter_requests_need_less() -> None:
    assert outcome(drain_timeout_s=6.0, limits=Limits(header_timeout_s=1.0, request_timeout_s=5.0)) is Outcome.PASSED
