"""Whether a worker may take traffic: what denies a deploy only warns of a rollback, and is called a warning there."""

from __future__ import annotations

import pytest
from tests.fakes.values import make_revision

from hyperion.domain.config import DeploymentConfig, MemoryBudget
from hyperion.domain.deployment import Origin
from hyperion.domain.finding import Finding, Outcome
from hyperion.ports import ProcessUsage
from hyperion.serving.judgement import judge

SLOW = Finding(check="performance.latency_p99", outcome=Outcome.FAILED, summary="slow", reason="over gates.p99_ms")
WRONG = Finding(check="model.golden", outcome=Outcome.FAILED, summary="wrong", reason="other outputs")
LARGE = ProcessUsage(cpu_s=0.0, resident_bytes=2**30, proportional_bytes=None, read_bytes=None, written_bytes=None)


def judged(origin: Origin, finding: Finding) -> tuple[dict[str, Outcome], bool]:
    """The outcomes by check, and whether it may take traffic."""
    config = DeploymentConfig(name="mlp", memory=MemoryBudget(budget_mb=10))
    findings, denial = judge([finding.model_dump(mode="json")], LARGE, make_revision(origin=origin, config=config))
    return {found.check: found.outcome for found in findings}, denial is None


def test_a_slow_and_large_deploy_is_denied() -> None:
    outcomes, allowed = judged(Origin.DEPLOY, SLOW)

    assert not allowed
    assert set(outcomes.values()) == {Outcome.FAILED}


def test_a_slow_and_large_rescue_is_only_warned() -> None:
    outcomes, allowed = judged(Origin.ROLLBACK, SLOW)

    assert allowed
    assert set(outcomes.values()) == {Outcome.WARNED}


@pytest.mark.parametrize("origin", list(Origin))
def test_a_wrong_answer_denies_every_one(origin: Origin) -> None:
    outcomes, allowed = judged(origin, WRONG)

    assert not allowed
    assert outcomes["model.golden"] is Outcome.FAILED
