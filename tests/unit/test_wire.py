"""The channel's bytes, over a real socket pair: lines in order, and descriptors with the lines they were sent with."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hyperion.errors import HostError
from hyperion.serving import wire as wires
from hyperion.serving.channel import LeaveTraffic, Rest, Route
from hyperion.serving.dialing import bind_at, dial
from hyperion.serving.wire import Wire


def over_a_pair(talk: Callable[[Wire, Wire], Awaitable[None]]) -> None:
    async def run() -> None:
        ends = [Wire(end) for end in socket.socketpair()]
        try:
            await asyncio.wait_for(talk(*ends), 10)
        finally:
            for end in ends:
                end.close()

    asyncio.run(run())


def test_lines_arrive_whole_and_in_order() -> None:
    async def talk(ours: Wire, theirs: Wire) -> None:
        for number in range(500):
            ours.send(b"%d\n" % number)
        assert [await theirs.read_line() for _ in range(500)] == [b"%d" % number for number in range(500)]

    over_a_pair(talk)


def test_a_line_larger_than_the_sockets_buffer_arrives() -> None:
    async def talk(ours: Wire, theirs: Wire) -> None:
        ours.send(b"x" * 2_000_000 + b"\n")
        assert len(await theirs.read_line()) == 2_000_000
        await ours.flush()

    over_a_pair(talk)


def test_sockets_arrive_with_their_lines_and_are_closed_at_home() -> None:
    async def talk(ours: Wire, theirs: Wire) -> None:
        given = [socket.socketpair() for _ in range(3)]
        ours.send(b"two\n", [given[0][0], given[1][0]])
        ours.send(b"none\n")
        ours.send(b"one\n", [given[2][0]])
        assert [await theirs.read_line() for _ in range(3)] == [b"two", b"none", b"one"]
        for number, (sent, kept) in enumerate(given):
            assert sent.fileno() == -1
            with theirs.take() as taken, kept:
                kept.sendall(b"%d" % number)
                assert taken.recv(10) == b"%d" % number
                assert not os.get_inheritable(taken.fileno())
        with pytest.raises(ValueError, match="did not come"):
            theirs.take()

    over_a_pair(talk)


def test_sockets_come_with_a_line_that_waited_for_room() -> None:
    async def talk(ours: Wire, theirs: Wire) -> None:
        sent, kept = socket.socketpair()
        ours.send(b"x" * 2_000_000 + b"\n")
        ours.send(b"with\n", [sent])
        await theirs.read_line()
        assert await theirs.read_line() == b"with"
        theirs.take().close()
        assert kept.recv(1) == b""
        kept.close()

    over_a_pair(talk)


def test_the_end_comes_after_what_was_said_last() -> None:
    async def talk(ours: Wire, theirs: Wire) -> None:
        ours.send(b"last words\nhalf a line")
        ours.close()
        assert await theirs.read_line() == b"last words"
        assert await theirs.read_line() == b""
        assert theirs.is_closed

    over_a_pair(talk)


def test_what_a_dead_peer_is_told_is_lost_without_harm() -> None:
    async def talk(ours: Wire, theirs: Wire) -> None:
        theirs.close()
        sent, kept = socket.socketpair()
        ours.send(b"anybody?\n", [sent])
        await ours.flush()
        assert await ours.read_line() == b""
        ours.send(b"nobody\n")
        assert sent.fileno() == -1
        kept.close()

    over_a_pair(talk)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "LINE_LIMIT", 1000)

    async def talk(ours: Wire, theirs: Wire) -> None:
        ours.send(b"x" * 5000)
        with pytest.raises(ValueError, match="longer than 1000"):
            await theirs.read_line()

    over_a_pair(talk)


def test_only_peers_that_listen_are_dialed(tmp_path: Path) -> None:
    # given: one that listens, one that was bound only, one that is gone
    there = [str(tmp_path / name) for name in ("listens", "bound", "gone")]
    doors = [bind_at(path) for path in there[:2]]
    doors[0].listen(1)
    for message in (Route(2, 0.5, there), Rest(1.0, there), LeaveTraffic(1.0, there)):
        # when
        reached, sockets = dial(message)
        # then
        paths = reached.paths if isinstance(reached, Route) else reached.heirs  # type: ignore[union-attr]
        assert (paths, len(sockets)) == ([there[0]], 1)
        sockets[0].close()
        doors[0].accept()[0].close()
    for door in doors:
        door.close()


def test_a_path_of_a_dead_process_is_taken_over_and_an_impossible_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "door"
    bind_at(str(path)).close()
    bind_at(str(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(HostError, match="nowhere"):
        bind_at(str(tmp_path / "nowhere" / "door"))
