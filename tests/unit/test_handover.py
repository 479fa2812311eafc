"""Descriptors of live connections between workers, over real sockets."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from hyperion.serving.handover import Heirs, Inheritance, Outcome


def test_a_connection_arrives_with_what_its_client_sent_meanwhile() -> None:
    async def talk() -> None:
        arrived: asyncio.Queue[socket.socket] = asyncio.Queue()
        ours, theirs = socket.socketpair()
        Inheritance(theirs, arrived.put_nowait)
        heirs = Heirs([ours])
        client, served = socket.socketpair()
        client.sendall(b"the next request")
        assert heirs.give(served.fileno()) is Outcome.GIVEN
        served.close()  # ends nothing
        taken = await asyncio.wait_for(arrived.get(), 5)
        with taken, client:
            assert taken.recv(100) == b"the next request"
        heirs.close()
        await asyncio.sleep(0.01)

    asyncio.run(talk())


def test_heirs_take_turns_and_a_dead_one_is_left_out() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    heirs = Heirs([ours for ours, _ in pairs])
    pairs[1][1].close()
    with socket.socket() as connection:
        assert [heirs.give(connection.fileno()) for _ in range(4)] == [Outcome.GIVEN] * 4
    for place in (0, 2):
        taken = [socket.recv_fds(pairs[place][1], 1, 1) for _ in range(2)]
        for _, descriptors, _, _ in taken:
            socket.socket(fileno=descriptors[0]).close()
        pairs[place][1].close()
    with socket.socket() as connection:
        assert heirs.give(connection.fileno()) is Outcome.NO_HEIR


def test_an_heir_that_does_not_take_what_it_was_given_is_offered_more_later() -> None:
    ours, theirs = socket.socketpair()
    heirs = Heirs([ours])
    with socket.socket() as connection, theirs:
        outcomes = {heirs.give(connection.fileno()) for _ in range(5000)}
        assert outcomes == {Outcome.GIVEN, Outcome.LATER}
    heirs.close()


@pytest.mark.parametrize("code", [errno.ETOOMANYREFS, errno.ENOBUFS])
def test_no_room_on_the_way_is_not_the_heirs_death(code: int) -> None:
    class Full(socket.socket):
        def sendmsg(self, *_: object) -> int:  # type: ignore[override]
            raise OSError(code, "no room")

    with Full() as link, socket.socket() as connection:
        assert Heirs([link]).give(connection.fileno()) is Outcome.LATER
