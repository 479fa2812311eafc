"""What the service manager hears of a running supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hyperion.ports import ServiceManager

LONGEST_PAUSE_S = 1.0


async def keep_informed(manager: ServiceManager, in_words: Callable[[], str]) -> None:
    """Say that we are ready, and from then on how it goes, and that the event loop still turns; until cancelled.

    The watchdog is fed from the event loop: a supervisor that hangs is killed and started again, which costs no
    request, for its workers go on.
    """
    pause_s = min(LONGEST_PAUSE_S, (manager.watchdog_s or 2 * LONGEST_PAUSE_S) / 2)
    said = ""
    manager.tell("READY=1")
    while True:
        words = in_words()
        if words != said and manager.tell(f"STATUS={words}"):
            said = words
        if manager.watchdog_s is not None:
            manager.tell("WATCHDOG=1")
        await asyncio.sleep(pause_s)
