"""Which revision answers a request while a candidate is tried: exact shares, sticky clients, and never a lost answer.

Every worker of the active revision decides for the requests that it read, each by itself: the share is exact per
worker, whatever clients do with their connections. The stable revision answers what the candidate does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from hyperion.serving.frames import Answer, FrameLink, Headers
from hyperion.serving.telemetry import FALLBACKS, FORWARDED, Slot

Tell = Callable[[tuple[Answer, bytes] | None], None]
"""Told a candidate's answer, and who gives it (exchange.header_lines); None where there is none to be had."""
WHOLE = 1_000_000
"""Shares are counted in millionths: whole numbers, which do not drift."""


class ShareCounter:
    """Says of each request whether it is one of the share.

    After n requests between share·n - ½ and share·n + ½ of them were: half a request is credited at the start, so
    that the few requests of each of many workers add up to the share too.
    """

    def __init__(self, share: float) -> None:
        self._step = round(share * WHOLE)
        self._credit = WHOLE // 2

    def take(self) -> bool:
        """The next request."""
        self._credit += self._step
        if self._credit < WHOLE:
            return False
        self._credit -= WHOLE
        return True


def is_chosen(value: bytes, revision: int, share: float) -> bool:
    """Whether the client with this value of the sticky header is one of the share.

    The same in every worker and after every restart. Who is chosen stays so while the share grows; another revision
    draws anew, so that not always the same clients try what is new.
    """
    drawn = hashlib.blake2b(value, digest_size=8, salt=revision.to_bytes(16, "big")).digest()
    return int.from_bytes(drawn, "big") < share * 2**64


class Router:
    """A worker's part in a canary.

    Args:
        most_unanswered: Requests that may wait for one worker of the candidate; beyond, the stable revision answers.
        patience_s: How long the candidate may take; then the stable revision answers.
    """

    def __init__(self, most_unanswered: int, patience_s: float) -> None:
        self.is_on = False
        self.revision: int | None = None
        self.share = 0.0
        self._most_unanswered = most_unanswered
        self._patience_s = patience_s
        self._sticky: bytes | None = None
        self._counter = ShareCounter(0.0)
        self._links: list[FrameLink] = []
        self._retired: list[FrameLink] = []
        self._turn = 0

    def route(self, revision: int, share: float, links: Sequence[FrameLink], sticky_header: str | None) -> None:
        """From the next request on; links of before are closed with their last answers. A share of 0 ends it."""
        for link in self._links:
            link.retire()
        self._retired = [link for link in (*self._retired, *self._links) if link.is_open]
        self._links = list(links)
        self.is_on = share > 0
        self.revision, self.share = (revision, share) if self.is_on else (None, 0.0)
        self._sticky = None if sticky_header is None else sticky_header.lower().encode()
        self._counter = ShareCounter(share)

    def stop(self) -> None:
        """Forward nothing more."""
        self.route(0, 0.0, (), None)

    def chooses(self, headers: Headers) -> bool:
        """Whether the candidate is to answer the request with these headers."""
        if self._sticky is not None and self.revision is not None:
            for name, value in headers:
                if name == self._sticky:
                    return is_chosen(value, self.revision, self.share)
        return self._counter.take()

    def forward(self, body: bytes, json_bytes: int | None, slot: Slot, tell: Tell) -> None:
        """Have the candidate answer; where it does not, that is counted and told too, now or later.

        A callback and no coroutine: a task would cost as much as the forwarding itself.
        """
        slot.counters[FORWARDED] += 1
        link = self._next_link()
        if link is None:
            slot.counters[FALLBACKS] += 1
            tell(None)
            return

        def heard(answer: Answer | None) -> None:
            if answer is None:
                slot.counters[FALLBACKS] += 1
                tell(None)
            else:
                tell((answer, link.identity_lines))

        link.ask(body, json_bytes, heard)

    def expire(self) -> None:
        """Give up on what the candidate has not answered in time; call once a second."""
        for link in (*self._links, *self._retired):
            link.expire(self._patience_s)
        self._retired = [link for link in self._retired if link.is_open]

    def _next_link(self) -> FrameLink | None:
        """The workers of the candidate take turns."""
        for _ in self._links:
            self._turn = (self._turn + 1) % len(self._links)
            link = self._links[self._turn]
            if link.takes_questions and link.unanswered < self._most_unanswered:
                return link
        return None
