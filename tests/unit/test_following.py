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
        answer = followers.add(revision(2), Until.FINISHED, lambda _progress: None)

        followers.follow_back(2, 3, "errors 4 %", 900, PROOF)

        followers.answer(2, RolloutState.ROLLED_BACK, None, active=2, url=None, proof=(), duration_ms=1)
        assert not answer.done()
        followers.answer(3, RolloutState.PROMOTED, None, active=3, url=None, proof=(), duration_ms=50)
        found = await answer
        assert (found.revision.number, found.promoted, found.state) == (2, False, RolloutState.ROLLED_BACK)
        assert (found.reason, found.duration_ms, found.proof) == ("errors 4 %", 950, PROOF)

    asyncio.run(scenario())


def test_a_way_back_that_was_aborted_is_told_to_who_waited() -> None:
    async def scenario() -> None:
        followers = Followers()
        answer = followers.add(revision(2), Until.FINISHED, lambda _progress: None)
        followers.follow_back(2, 3, "errors 4 %", 900, PROOF)

        followers.answer(3, RolloutState.ABORTED, "it crashed", active=2, url=None, proof=(), duration_ms=50)

        assert (await answer).reason == "errors 4 %; and the way back was aborted: it crashed"

    asyncio.run(scenario())
