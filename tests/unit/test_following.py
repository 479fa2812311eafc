"""The clients that wait for a rollout: whose answer it is when the supervisor goes back by itself."""

from __future__ import annotations

import asyncio

from tests.fakes.clock import START

from hyperion.domain.command import Until
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.serving_state import RolloutState
from hyperion.serving.following import Followers

PROOF = (Finding(check="model.golden", outcome=Outcome.PASSED, summary="as expected"),)


def revision(number: int) -> Revision:
    return Revision(
        deployment="shop", number=number, digest=f"sha256:{number:064d}", model="shop", version="1.0.0",
        config=DeploymentConfig(name="shop"), origin=Origin.DEPLOY, reason=None, replaces=None, actor="ada",
        created_at=START,
    )  # fmt: skip


def test_who_waits_for_what_is_left_is_answered_at_the_end_of_the_way_back_with_what_was_proven() -> None:
    async def scenario() -> None:
        followers = Followers()
        followers.add(revision(2), Until.FINISHED, lambda _progress: None)

        followers.follow_back(2, 3, "errors 4 %", 900, PROOF)

        assert followers.due(2, RolloutState.ROLLED_BACK) is None
        found = followers.due(3, RolloutState.PROMOTED)
        assert found is not None
        assert (found.asked.number, found.left_for, found.left_after_ms, found.proof) == (2, "errors 4 %", 900, PROOF)

    asyncio.run(scenario())
