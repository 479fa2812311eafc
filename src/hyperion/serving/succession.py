"""A supervisor that gives way to a fresh one in its own process: the same pid, the software as it is installed now.

Its workers go on as they do where a supervisor is killed, and the fresh one adopts them. Nothing that was begun is cut
off for it: a rollout, or a client's command, is waited for.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

ASKED_BY = signal.SIGUSR2
POLL_S = 0.1
_HELD = frozenset({ASKED_BY, signal.SIGHUP, signal.SIGTERM, signal.SIGINT})


async def settled(is_busy: Callable[[], bool]) -> None:
    """Wait until nothing is under way; from then on signals wait for the successor."""
    while is_busy():  # noqa: ASYNC110  (what is busy tells nobody when it is not)
        await asyncio.sleep(POLL_S)
    # What is blocked stays so over exec, and what arrives meanwhile stays pending: at its start, a program that has no
    # handlers yet would die of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def let_signals_in() -> None:
    """To be called once the handlers stand."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
