"""How an orphan and the next supervisor meet: over real sockets, with a worker's own end of the channel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hyperion.domain.confinement import Protection
from hyperion.domain.worker_state import WorkerState
from hyperion.serving import supervisor_channel
from hyperion.serving.adoption import meet
from hyperion.serving.channel import CHANNEL_VERSION, Beat, Introduced, encode, parse_order
from hyperion.serving.supervisor_channel import SupervisorChannel

TICKS = 4711


def introduced(state: WorkerState = WorkerState.ACCEPTING, version: int = CHANNEL_VERSION) -> Introduced:
    return Introduced(
        version=version, started_ticks=TICKS, deployment="shop", worker="r3-w1", revision=3, state=state,
        has_listener=False, frames_path="/f", handover_path="/h",
    )  # fmt: skip


@dataclass
class Orphan:
    """The process of a worker, as the next supervisor sees it: this one, which nobody may kill."""

    control: socket.socket
    started_ticks: int | None = TICKS
    is_halted: bool = False
    killed: bool = False
    pid: int = os.getpid()
    exit_fd: int = -1

    def halted(self) -> bool:
        return self.is_halted

    def kill(self) -> None:
        self.killed = True

    def reap(self) -> None:
        self.control.close()

    def limit_memory(self, _limit_bytes: int) -> Protection:
        return Protection(name="memory", in_force=False, detail="a test")

    def memory_kill(self) -> None:
        return None


@dataclass
class WorkerEnd:
    """A worker whose supervisor is gone; ``reading`` waits for its next order."""

    path: Path
    listener: socket.socket
    channel: SupervisorChannel
    reading: asyncio.Task[bytes]

    def connected(self, **orphan: object) -> Orphan:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(self.path))
        except OSError:
            control.close()
            raise
        return Orphan(control, **orphan)  # type: ignore[arg-type]


@asynccontextmanager
async def orphaned(
    folder: Path, introduce: Callable[[], Introduced | None] = introduced, *, is_proven: bool = True
) -> AsyncIterator[WorkerEnd]:
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = SupervisorChannel(theirs, listener)
        channel.bind(folder / "w1.control", introduce)
        if is_proven:
            channel.listen()
        ours.close()  # the supervisor dies
        reading = asyncio.create_task(channel.read_line())
        try:
            yield WorkerEnd(folder / "w1.control", listener, channel, reading)
        finally:
            reading.cancel()
            channel.close()


def test_an_orphan_greets_with_its_listening_socket_and_goes_on_over_the_same_connection(tmp_path: Path) -> None:
    async def play() -> None:
        async with orphaned(tmp_path) as worker:
            found = await meet(worker.connected())

            assert found is not None
            assert (found.fault, found.worker.name, found.worker.state) == (None, "r3-w1", WorkerState.ACCEPTING)
            assert found.listener is not None
            assert found.listener.getsockname() == worker.listener.getsockname()
            assert not found.listener.get_inheritable()

            found.wire.send(encode(Beat(7)))
            assert parse_order(await asyncio.wait_for(worker.reading, 10)) == Beat(7)
            found.listener.close()
            found.wire.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("who", "orphan", "words"),
    [
        (introduced(version=CHANNEL_VERSION + 1), {}, "other software"),
        (introduced(), {"started_ticks": TICKS + 1}, "another process's"),
        (introduced(WorkerState.GATED), {}, "serves nobody"),
    ],
    ids=["other software", "a pid given out again", "nothing to lose"],
)
def test_what_cannot_be_adopted_is_ended_and_its_listening_socket_kept(
    tmp_path: Path, who: Introduced, orphan: dict[str, object], words: str
) -> None:
    async def play() -> None:
        async with orphaned(tmp_path, lambda: who) as worker:
            process = worker.connected(**orphan)
            found = await meet(process)

            assert found is not None
            assert words in str(found.fault)
            assert process.killed
            assert found.listener is not None
            found.listener.close()

    asyncio.run(play())


def test_an_orphan_that_a_signal_stopped_is_not_waited_for(tmp_path: Path) -> None:
    async def play() -> None:
        async with orphaned(tmp_path) as worker:
            process = worker.connected(is_halted=True)
            assert await meet(process) is None
            assert process.killed

    asyncio.run(play())


def test_a_supervisor_that_dies_while_it_adopts_is_followed_by_the_next(tmp_path: Path) -> None:
    async def play() -> None:
        async with orphaned(tmp_path) as worker:
            worker.connected().control.close()
            found = await meet(worker.connected())

            assert found is not None
            assert found.fault is None
            assert found.listener is not None
            found.listener.close()
            found.wire.close()

    asyncio.run(play())


def test_a_worker_that_is_not_yet_proven_refuses_at_once_and_ends_with_its_supervisor(tmp_path: Path) -> None:
    async def play() -> None:
        async with orphaned(tmp_path, lambda: None, is_proven=False) as worker:
            with pytest.raises(ConnectionRefusedError):
                worker.connected()
            assert await asyncio.wait_for(worker.reading, 10) == b""

    asyncio.run(play())


def test_an_orphan_that_takes_no_traffic_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_channel, "IDLE_ORPHAN_S", 0.01)

    async def play() -> None:
        async with orphaned(tmp_path, lambda: introduced(WorkerState.WARM)) as worker:
            assert await asyncio.wait_for(worker.reading, 10) == b""

    asyncio.run(play())
