"""The clients that asked for a rollout: told of its progress, and answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hyperion.domain.command import Deployed, Progress, Until
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding
from hyperion.domain.serving_state import RolloutState

Tell = Callable[[Progress], None]

_DECIDED = frozenset({RolloutState.PROMOTED, RolloutState.ABORTED, RolloutState.ROLLED_BACK})


@dataclass(slots=True)
class Follower:
    """One client, while it waits.

    Attributes:
        asked: The revision that it asked for.
        until: What it waits for.
        tell: Told of progress; does nothing where the client went away.
        left_for: Why the supervisor goes back from that revision by itself; None while it does not.
        left_after_ms: How long its rollout had taken then.
        proof: What its workers had shown then.
    """

    asked: Revision
    until: Until
    tell: Tell
    left_for: str | None = None
    left_after_ms: int = 0
    proof: tuple[Finding, ...] = ()
    answer: asyncio.Future[Deployed] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def waits_for_no_more_than(self, state: RolloutState) -> bool:
        shifted = self.until is Until.SHIFTED and state is RolloutState.BAKING
        return state in _DECIDED or shifted or self.until is Until.STARTED


class Followers:
    """Who waits for which revision of a deployment."""

    def __init__(self) -> None:
        self._waiting: dict[int, Follower] = {}

    def add(self, asked: Revision, until: Until, tell: Tell) -> asyncio.Future[Deployed]:
        """A client asks for a revision; with its answer to come."""
        follower = self._waiting[asked.number] = Follower(asked, until, tell)
        return follower.answer

    def awaits(self, number: int, state: RolloutState) -> bool:
        """Whether a client is to be answered when this rollout has come to ``state``."""
        follower = self._waiting.get(number)
        return follower is not None and follower.waits_for_no_more_than(state)

    def say(self, stage: str, message: str) -> None:
        """Tell all that wait how it goes."""
        for follower in self._waiting.values():
            follower.tell(Progress(stage=stage, message=message))

    def follow_back(self, left: int, to: int, reason: str, after_ms: int, proof: tuple[Finding, ...]) -> None:
        """Who waits for the revision that is left waits for the way back from now on."""
        if follower := self._waiting.pop(left, None):
            follower.left_for, follower.left_after_ms, follower.proof = reason, after_ms, proof
            self._waiting[to] = follower

    def answer(
        self,
        number: int,
        state: RolloutState,
        reason: str | None,
        *,
        active: int | None,
        url: str | None,
        proof: tuple[Finding, ...],
        duration_ms: int,
    ) -> None:
        """Answer the client that waits for this rollout, where it waits for no more than this.

        Args:
            number: The revision whose rollout has come to ``state``.
            state: Where it has come to.
            reason: Why it was aborted or left.
            active: The revision that receives traffic by default now.
            url: Where the deployment answers.
            proof: What the workers of the revision showed.
            duration_ms: How long its rollout has taken so far.
        """
        if not self.awaits(number, state):
            return
        follower = self._waiting.pop(number)
        if follower.left_for is not None:
            proof, duration_ms = follower.proof, follower.left_after_ms + duration_ms
            fault = "" if reason is None else f"; and the way back was aborted: {reason}"
            state, reason = RolloutState.ROLLED_BACK, f"{follower.left_for}{fault}"
        promoted = active == follower.asked.number
        follower.answer.set_result(
            Deployed(
                revision=follower.asked,
                promoted=promoted,
                state=state,
                url=url,
                proof=proof,
                reason=reason,
                duration_ms=duration_ms,
            )
        )
