"""The queue before the engine: what shares a run, what does not, and whose fault reaches whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hyperion.ports import Array, Tensors
from hyperion.serving.batching import Batcher


class Doubling:
    """An engine that answers ``y = 2 x``; its first run waits until it is let go, so that requests gather behind it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, feeds: Tensors) -> dict[str, Array]:
        x = np.asarray(feeds["x"])
        first = not self.sizes
        self.sizes.append(len(x))
        if first:
            self.started.set()
            assert self.go.wait(10)
        if (x < 0).any():
            raise ValueError("negative")
        return {"y": 2 * x}


def row(value: float, rows: int = 1, width: int = 3) -> dict[str, Array]:
    return {"x": np.full((rows, width), value, dtype=np.float32)}


class Case:
    """A batcher before a Doubling, and the runs that it told of."""

    def __init__(self, max_batch: int = 8, max_wait_s: float = 0.0, engine: Callable[..., Any] | None = None) -> None:
        self.engine = Doubling()
        self.runs: list[int] = []
        self.thread = ThreadPoolExecutor(1)
        self.batcher = Batcher(engine or self.engine, self.thread, max_batch, max_wait_s, self.runs.append)

    async def behind_a_busy_engine(self, *requests: dict[str, Array]) -> tuple[asyncio.Task[dict[str, Array]], ...]:
        """The first request runs; the others wait behind it, then the engine is let go."""
        first = asyncio.create_task(self.batcher.answer(row(0.5)))
        await asyncio.to_thread(self.engine.started.wait, 10)
        tasks = tuple(asyncio.create_task(self.batcher.answer(feeds)) for feeds in requests)
        await asyncio.sleep(0)
        self.engine.go.set()
        return (first, *tasks)


def played(story: Callable[[Case], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    case = Case(**options)
    with case.thread:
        return asyncio.run(asyncio.wait_for(story(case), 20)), case


def test_an_idle_engine_runs_a_request_alone_at_once() -> None:
    async def story(case: Case) -> dict[str, Array]:
        case.engine.go.set()
        return await case.batcher.answer(row(1.5))

    found, case = played(story, max_wait_s=1000)

    assert case.runs == [1]
    assert np.array_equal(found["y"], np.full((1, 3), 3, np.float32))


def test_requests_that_gathered_share_a_run_and_each_gets_its_own_rows() -> None:
    async def story(case: Case) -> list[dict[str, Array]]:
        return await asyncio.gather(*await case.behind_a_busy_engine(row(1), row(2, rows=3), row(3)))

    found, case = played(story)

    assert case.engine.sizes == [1, 5]
    assert case.runs == [1, 3]
    assert [part["y"][0, 0] for part in found] == [1, 2, 4, 6]
    assert [len(part["y"]) for part in found] == [1, 1, 3, 1]


def test_a_run_holds_no_more_rows_than_it_may() -> None:
    async def story(case: Case) -> list[dict[str, Array]]:
        return await asyncio.gather(*await case.behind_a_busy_engine(*(row(1) for _ in range(5)), row(7, rows=9)))

    found, case = played(story, max_batch=4)

    assert case.engine.sizes == [1, 4, 1, 9]
    assert len(found[-1]["y"]) == 9


@pytest.mark.parametrize("other", [row(1, width=4), {"x": np.ones((1, 3), np.float64)}, {"x": np.float32(1)}])
def test_requests_of_other_shapes_types_or_without_rows_run_apart(other: dict[str, Array]) -> None:
    async def story(case: Case) -> list[dict[str, Array]]:
        return await asyncio.gather(*await case.behind_a_busy_engine(row(1), *({"x": np.atleast_1d(other["x"])},)))

    _, case = played(story)

    assert case.runs == [1, 1, 1]


def test_the_fault_of_one_request_does_not_reach_the_others() -> None:
    async def story(case: Case) -> list[Any]:
        tasks = await case.behind_a_busy_engine(row(1), row(-1), row(3))
        return await asyncio.gather(*tasks, return_exceptions=True)

    found, case = played(story)

    assert [type(part) for part in found] == [dict, dict, ValueError, dict]
    assert found[3]["y"][0, 0] == 6
    assert case.runs == [1, 1, 1]


def test_a_request_that_nobody_waits_for_is_not_run() -> None:
    async def story(case: Case) -> None:
        first, gone, last = await case.behind_a_busy_engine(row(1), row(2))
        gone.cancel()
        await asyncio.gather(first, last)

    _, case = played(story)

    assert case.engine.sizes == [1, 1]


def test_a_cancelled_request_takes_no_other_with_it_while_the_engine_runs_them_both() -> None:
    engine = Doubling()

    def slow(feeds: Tensors) -> dict[str, Array]:
        if len(feeds["x"]) == 2:
            running.set()
            assert proceed.wait(10)
        return engine(feeds)

    running, proceed = threading.Event(), threading.Event()

    async def story(case: Case) -> dict[str, Array]:
        case.engine = engine
        first, gone, other = await case.behind_a_busy_engine(row(1), row(2))
        await asyncio.to_thread(running.wait, 10)
        gone.cancel()
        proceed.set()
        await first
        return await other

    found, _ = played(story, engine=slow)

    assert found["y"][0, 0] == 4


def test_a_model_whose_output_has_no_row_for_each_row_is_run_one_by_one() -> None:
    engine = Doubling()

    def summed(feeds: Tensors) -> dict[str, Array]:
        return {"y": engine(feeds)["y"].sum(keepdims=True)}

    async def story(case: Case) -> list[dict[str, Array]]:
        case.engine = engine
        return await asyncio.gather(*await case.behind_a_busy_engine(row(1), row(2)))

    found, case = played(story, engine=summed)

    assert [part["y"].item() for part in found] == [3, 6, 12]
    assert case.runs == [1, 1, 1]


def test_a_busy_engine_waits_a_moment_for_company() -> None:
    async def story(case: Case) -> dict[str, Array]:
        await asyncio.gather(*await case.behind_a_busy_engine(row(1), row(2)))  # had company
        early = asyncio.create_task(case.batcher.answer(row(3)))
        await asyncio.sleep(0)
        late = asyncio.create_task(case.batcher.answer(row(4, rows=7)))
        await early
        return await late

    found, case = played(story, max_wait_s=10)

    assert case.runs == [1, 2, 2]
    assert found["y"][0, 0] == 8


def test_requests_are_not_left_waiting_where_there_is_no_thread() -> None:
    async def story(case: Case) -> Any:
        case.thread.shutdown()
        return await asyncio.gather(case.batcher.answer(row(1)), case.batcher.answer(row(2)), return_exceptions=True)

    found, _ = played(story)

    assert [type(part) for part in found] == [RuntimeError, RuntimeError]
