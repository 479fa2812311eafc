"""Requests that wait for the engine at the same time share one run of it.

An idle worker runs a request at once. While the engine is busy, requests gather; those of the same shape but for the
first dimension are put together, up to a number of rows that this host measured to pay. Only after a run that had
company may the next one wait a moment for more. A request that was cancelled or timed out leaves the queue unrun; where
the engine refuses a batch, each of its requests runs alone, so that no fault of one reaches another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyperion.ports import Array, Tensors

Run = Callable[[Tensors], dict[str, Array]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A request in the queue; ``kind`` is None for one that can share no run."""

    feeds: Tensors
    kind: tuple[Any, ...] | None
    rows: int
    answer: asyncio.Future[dict[str, Array]]


class Batcher:
    """The queue before the engine; lives in the event loop.

    Args:
        run: Runs the engine; called in ``thread``.
        thread: One thread: the engine has one session, with threads of its own.
        max_batch: Most rows of a run; larger requests run alone.
        max_wait_s: How long a run that would have company may be put off.
        on_run: Told how many requests a run answered.
    """

    def __init__(
        self, run: Run, thread: Executor, max_batch: int, max_wait_s: float, on_run: Callable[[int], None]
    ) -> None:
        self._run = run
        self._thread = thread
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._on_run = on_run
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._had_company = False

    async def answer(self, feeds: Tensors) -> dict[str, Array]:
        """The outputs for one request; cancelling this takes it out of the queue.

        Raises:
            Exception: What ``run`` raises for this request alone.
        """
        loop = asyncio.get_running_loop()
        kind, rows = _kind_of(feeds)
        waiting = _Waiting(feeds, kind, rows, loop.create_future())
        self._queue.append(waiting)
        self._arrived.set()
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._work_off())
        return await waiting.answer

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            if self._had_company:
                await self._wait_for_more(batch)
            live = [waiting for waiting in batch if not waiting.answer.done()]
            if not live:
                continue
            self._had_company = len(live) > 1
            outcomes: list[dict[str, Array] | Exception]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._run_together, live)
            except Exception as error:  # noqa: BLE001  (no thread to be had: told to those who wait, not to nobody)
                outcomes = [error] * len(live)
            for waiting, outcome in zip(live, outcomes, strict=True):
                if waiting.answer.done():
                    continue  # nobody waits for it any more
                if isinstance(outcome, Exception):
                    waiting.answer.set_exception(outcome)
                else:
                    waiting.answer.set_result(outcome)

    def _take(self) -> list[_Waiting]:
        """The oldest request and all that may run with it; the others stay in their order."""
        batch: list[_Waiting] = []
        while self._queue and not batch:
            first = self._queue.popleft()
            if not first.answer.done():
                batch.append(first)
        if batch:
            self._fill(batch)
        return batch

    def _fill(self, batch: list[_Waiting]) -> None:
        first = batch[0]
        rows = sum(waiting.rows for waiting in batch)
        left: deque[_Waiting] = deque()
        for waiting in self._queue:
            if waiting.answer.done():
                continue
            if first.kind is not None and waiting.kind == first.kind and rows + waiting.rows <= self._max_batch:
                batch.append(waiting)
                rows += waiting.rows
            else:
                left.append(waiting)
        self._queue = left

    async def _wait_for_more(self, batch: list[_Waiting]) -> None:
        """Put a run off for ``max_wait_s`` at most, while there is room in it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._max_wait_s
        while batch[0].kind is not None and sum(waiting.rows for waiting in batch) < self._max_batch:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                return
            self._fill(batch)

    def _run_together(self, batch: Sequence[_Waiting]) -> list[dict[str, Array] | Exception]:
        """In the thread: one run for all, or one for each where that fails."""
        if len(batch) > 1:
            try:
                joined = {name: np.concatenate([each.feeds[name] for each in batch]) for name in batch[0].feeds}
                parts = _split(self._run(joined), [each.rows for each in batch])
            except Exception:  # noqa: BLE001  (whose fault it is shows when each runs alone)
                parts = None
            if parts is not None:
                self._on_run(len(batch))
                return [*parts]
        return [self._run_alone(each) for each in batch]

    def _run_alone(self, waiting: _Waiting) -> dict[str, Array] | Exception:
        try:
            outputs = self._run(waiting.feeds)
        except Exception as error:  # noqa: BLE001  (raised again where the request is awaited)
            return error
        self._on_run(1)
        return outputs


def _kind_of(feeds: Tensors) -> tuple[tuple[Any, ...] | None, int]:
    """What requests that may share a run have in common, and this one's rows."""
    rows = {array.shape[0] if array.ndim else -1 for array in feeds.values()}
    if len(rows) != 1 or min(rows) < 1:
        return None, 1
    kind = tuple((name, feeds[name].dtype.str, feeds[name].shape[1:]) for name in sorted(feeds))
    return kind, rows.pop()


def _split(outputs: dict[str, Array], rows: Sequence[int]) -> list[dict[str, Array]] | None:
    """The outputs of each request; None where an output does not have a row for each row that was put in."""
    if any(array.ndim == 0 or array.shape[0] != sum(rows) for array in outputs.values()):
        return None
    ends = np.cumsum(rows)
    starts = ends - np.asarray(rows)
    return [
        {name: array[start:end] for name, array in outputs.items()} for start, end in zip(starts, ends, strict=True)
    ]
