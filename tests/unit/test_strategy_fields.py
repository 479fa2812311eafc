"""What a strategy cannot honour is refused, never ignored: every key of deployment.json that only some can."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from hyperion.domain.config import DeploymentConfig

STRATEGIES = ("blue-green", "canary", "recreate")
ONLY = {
    "canary": ({"canary": {}}, ("canary",)),
    "sticky header": ({"canary": {"sticky_header": "x-user"}}, ("canary",)),
    "deadline": ({"gates": {"deadline_s": 60}}, ("canary",)),
    "warm revision": ({"keep_warm_s": 60}, ("blue-green", "canary")),
    "warm spare": ({"warm_spare": True}, ("blue-green", "canary")),
    "samples without a watch": ({"gates": {"watch_s": 0, "min_samples": 10}}, ("canary",)),
    "growth without a watch": ({"gates": {"watch_s": 0, "memory_growth_mb": 10}}, ("canary",)),
    "replay without a watch": ({"gates": {"watch_s": 0, "golden_replay_s": 1}}, ("canary",)),
    "floors without a watch": ({"gates": {"watch_s": 0, "error_floor": 0.1}}, ("canary",)),
    "nothing warm": ({"keep_warm_s": 0}, STRATEGIES),
    "no watch": ({"gates": {"watch_s": 0, "p99_ms": 9, "automatic": False}}, STRATEGIES),
    "a watch": ({"gates": {"watch_s": 9, "min_samples": 10, "golden_replay_s": 0}}, STRATEGIES),
}
"""Keys, and the strategies that can honour them."""


def parse(strategy: str, keys: dict[str, object]) -> DeploymentConfig:
    return DeploymentConfig.model_validate_json(json.dumps({"strategy": strategy, **keys}))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("what", ONLY)
def test_a_key_is_taken_by_the_strategies_that_honour_it_and_refused_by_name_by_the_others(
    what: str, strategy: str
) -> None:
    keys, honouring = ONLY[what]
    if strategy in honouring:
        assert parse(strategy, keys).strategy == strategy
        return
    with pytest.raises(ValidationError) as refusal:
        parse(strategy, keys)
    assert next(iter(keys)) in str(refusal.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_was_written_out_in_full_is_read_again(strategy: str) -> None:
    config = parse(strategy, {})

    assert DeploymentConfig.model_validate_json(config.model_dump_json(by_alias=True)) == config
