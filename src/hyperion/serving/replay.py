"""Golden requests again and again: a worker that answered well when it was proven must still do so under traffic."""

from __future__ import annotations

import time
from collections.abc import Iterable

from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import EngineError
from hyperion.ports import Session
from hyperion.serving.proof import check_golden
from hyperion.verification.golden import Golden

KEPT_BYTES = 64 * 1024 * 1024
"""Golden requests are kept in memory up to this; what is beyond was compared at the proof only."""
REPLAY_S = 0.5
"""How long one replay may keep the engine from clients."""


class GoldenReplay:
    """The golden requests of one worker.

    Args:
        goldens: Of its package.
        session: Of its package; run in whichever thread calls.
    """

    def __init__(self, goldens: Iterable[Golden], session: Session) -> None:
        self._session = session
        self._goldens: list[Golden] = []
        self._turn = 0
        left = KEPT_BYTES
        for golden in goldens:
            left -= sum(array.nbytes for array in (*golden.inputs.values(), *golden.outputs.values()))
            if left < 0:
                break
            self._goldens.append(golden)

    def run(self) -> tuple[Finding, ...]:
        """A finding for each request that there was time for, at least one; the next call goes on after it."""
        findings: list[Finding] = []
        began = time.perf_counter()
        for _ in self._goldens:
            golden = self._goldens[self._turn]
            self._turn = (self._turn + 1) % len(self._goldens)
            findings.append(self._check(golden))
            if time.perf_counter() - began > REPLAY_S:
                break
        return tuple(findings)

    def _check(self, golden: Golden) -> Finding:
        try:
            return check_golden(golden, self._session.run(golden.inputs))
        except EngineError as error:
            summary = f"golden request {golden.name!r} was refused"
            return Finding(check="model.golden", outcome=Outcome.FAILED, summary=summary, reason=error.message)
