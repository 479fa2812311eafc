"""How a worker takes traffic, rests from it, takes it again, and leaves it for good.

It holds the listening socket that its supervisor opened, and only ever closes copies of its own: shutdown() would end
the socket for every other worker. Beside clients, other workers come to it, over unix sockets that it bound before it
was confined: those that forward requests to it, and those that leave and give it their connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from hyperion.serving.application import Application
from hyperion.serving.channel import Guard, Route
from hyperion.serving.connection import Connection
from hyperion.serving.door import Door
from hyperion.serving.frames import FRAME_OVERHEAD_BYTES, FrameDoor, FrameLink
from hyperion.serving.handover import Heirs, Inheritance
from hyperion.serving.keys import KeyCheck
from hyperion.serving.tls import renew_context, server_context

BACKLOG = 2048
OWN_BACKLOG = 128
"""Of the unix sockets: as many workers as may come at once."""
SETTLE_S = 0.02
"""After the listener closed: long enough for connections that were accepted just before to come up."""
PATIENCE_S = 2.0
"""How long connections may go on here that are never at rest, so cannot be given away; then an answer ends them."""
REFUSALS_S = 2.5
"""Past the deadline: how long clients may take to read that they are refused."""


class Doorways(NamedTuple):
    """Where a worker is reached; all bound."""

    listener: socket.socket
    """The deployment's listening socket, inherited."""
    frames: socket.socket
    """Where workers come that forward requests."""
    handover: socket.socket
    """Where workers come that give connections."""


class Traffic:
    """Everybody who comes to a proven worker.

    Args:
        doorways: Its sockets.
        door: What connections share.
        application: Answers.
        tls: What clients are shown; None for plain HTTP.
    """

    def __init__(
        self, doorways: Doorways, door: Door, application: Application, tls: ssl.SSLContext | None = None
    ) -> None:
        self._ways = doorways
        self._door = door
        self._application = application
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._asking: set[FrameDoor] = set()
        self._quiet = asyncio.Event()
        self._arrivals: set[asyncio.Task[None]] = set()
        self._most_bytes = door.limits.max_body_bytes + FRAME_OVERHEAD_BYTES

    # --- taking ---

    async def prepare(self) -> None:
        """Get everything ready, without accepting."""
        await self.make_ready()
        self._await_workers(self._ways.handover, lambda link: Inheritance(link, self._inherit))

    async def accept(self) -> None:
        """Take traffic, for the first time or again; all of it is answered here, until told otherwise."""
        self._door.welcome()
        self._application.router.stop()
        server = await self.make_ready()
        await server.start_serving()

    async def make_ready(self) -> asyncio.Server:
        """Have at hand what accepts, without accepting."""
        if self._server is None:
            self._server = await self._make_server()
        return self._server

    def open_frames(self) -> None:
        """Answer what other workers forward."""
        self._await_workers(self._ways.frames, lambda link: self._arrive(self._meet_asking(link)))

    async def route(self, order: Route, links: Sequence[socket.socket]) -> None:
        """Forward to a candidate; ``links`` lead to its workers."""
        made = [await self._loop.create_unix_connection(self._make_link, sock=link) for link in links]
        self._application.router.route(order.revision, order.share, [link for _, link in made], order.sticky_header)

    def guard(self, order: Guard) -> None:
        """Let others in from now on.

        Raises:
            OSError, ValueError: The certificate cannot be used; the one that was there stays.
        """
        self._door.keys = KeyCheck(order.keys)
        if self._tls is not None and order.tls is not None:
            server_context(order.tls)  # proven apart: half of it would spoil the one in use
            renew_context(self._tls, order.tls)

    def tick(self) -> None:
        """Call once a second."""
        self._door.refresh_date()
        self._application.router.expire()

    # --- leaving ---

    def turn_away(self, heirs: Sequence[socket.socket]) -> int:
        """Take no new connection, and let go of those that are here; returns how many are left to be drained."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for asking in self._asking:
            asking.say_goodbye()
        if self._tls is not None:  # what was agreed with the client cannot be given away
            for heir in heirs:
                heir.close()
            heirs = ()
        return self._door.turn_away(Heirs(heirs) if heirs else None)

    async def drain(self, deadline_s: float, idle_s: float | None = None) -> int:
        """Until nobody is here any more; returns how many connections had to be cut at the deadline.

        Args:
            deadline_s: How long requests may take.
            idle_s: How long connections at rest are waited for; None for as long as that.
        """
        dismissal = self._loop.call_later(PATIENCE_S, self._door.dismiss)
        ending = None if idle_s is None else self._loop.call_later(idle_s, self._door.end_idle)
        cut = 0
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.sleep(SETTLE_S)
                await self._emptied()
        except TimeoutError:
            cut = self._door.cut()
            for asking in list(self._asking):
                asking.close()  # whoever asked answers itself
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFUSALS_S):
                    await self._emptied()
        finally:
            dismissal.cancel()
            if ending is not None:
                ending.cancel()
        self._door.shut()
        self._application.router.stop()
        return cut

    def close_listener(self) -> None:
        """Hold the listening socket no longer: this worker takes no traffic again."""
        self._ways.listener.close()

    async def _emptied(self) -> None:
        self._door.emptied.clear()
        if self._door.connections:
            await self._door.emptied.wait()
        self._quiet.clear()
        if self._asking:
            await self._quiet.wait()

    # --- who comes ---

    async def _make_server(self) -> asyncio.Server:
        listener = self._ways.listener.dup()
        is_unix = listener.family == socket.AF_UNIX
        make = self._loop.create_unix_server if is_unix else self._loop.create_server
        handshake_s = None if self._tls is None else self._door.limits.header_timeout_s
        return await make(
            self._make_connection, sock=listener, backlog=BACKLOG, start_serving=False, ssl=self._tls,
            ssl_handshake_timeout=handshake_s,
        )  # fmt: skip

    def _make_connection(self, *, inherited: bool = False) -> Connection:
        return Connection(self._application, self._door, self._loop, inherited=inherited)

    def _make_link(self) -> FrameLink:
        return FrameLink(self._most_bytes)

    def _inherit(self, connection: socket.socket) -> None:
        self._arrive(self._loop.connect_accepted_socket(lambda: self._make_connection(inherited=True), connection))

    async def _meet_asking(self, link: socket.socket) -> None:
        answers = self._application.answer_at_once, self._application.answer_forwarded
        made = FrameDoor(self._most_bytes, self._door.identity, *answers, self._asked_enough)
        self._asking.add(made)
        await self._loop.connect_accepted_socket(lambda: made, link)

    def _asked_enough(self, asking: FrameDoor) -> None:
        self._asking.discard(asking)
        if not self._asking:
            self._quiet.set()

    def _arrive(self, arrival: Coroutine[Any, Any, Any]) -> None:
        """Let somebody come up in the background; who is gone by then is not missed."""
        task = self._loop.create_task(_quietly(arrival))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    def _await_workers(self, door: socket.socket, meet: Callable[[socket.socket], object]) -> None:
        def come() -> None:
            with contextlib.suppress(BlockingIOError):
                link, _ = door.accept()
                link.setblocking(False)
                meet(link)

        door.listen(OWN_BACKLOG)
        self._loop.add_reader(door.fileno(), come)


async def _quietly(arrival: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(OSError):
        await arrival
