"""Listening sockets: opened by the supervisor, inherited by the workers, kept while any revision uses them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hyperion.domain.config import Serve, host_and_port
from hyperion.errors import HostError
from hyperion.serving.unix_listener import open_unix_listener

BACKLOG = 2048
_PLAIN = Serve()
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (names them; binds nothing)


class Listeners:
    """The listening socket of each revision of a deployment; several revisions may share one."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}

    def __getitem__(self, revision: int) -> socket.socket:
        return self._sockets[revision]

    def of(self, revision: int) -> socket.socket | None:
        """The revision's socket, where it has one."""
        return self._sockets.get(revision)

    def add(self, revision: int, listener: socket.socket) -> None:
        self._sockets[revision] = listener

    def release(self, revision: int) -> None:
        """Forget a revision, and close its socket where no other uses that."""
        listener = self._sockets.pop(revision, None)
        if listener is not None and not any(listener is other for other in self._sockets.values()):
            listener.close()

    def keep_only(self, revisions: Collection[int | None]) -> None:
        """Forget every other revision."""
        for other in [number for number in self._sockets if number not in revisions]:
            self.release(other)

    def close(self) -> None:
        """Close all: new clients are refused."""
        for listener in self._sockets.values():
            listener.close()
        self._sockets.clear()


def open_listener(serve: Serve, handed: Sequence[socket.socket] = ()) -> socket.socket:
    """Bind and listen; connections wait in the backlog until a worker accepts.

    Args:
        serve: Where.
        handed: Listening sockets that a service manager opened; a copy of the one that listens there is taken.

    Raises:
        HostError: The port is in use (code ``host.port_in_use``), needs rights (``host.port_forbidden``), or the
            address is not one of this host's (``host.address``); of a unix socket see ``unix_listener``.
    """
    if serve.socket is not None:
        named = (other for other in handed if other.family == socket.AF_UNIX and other.getsockname() == serve.socket)
        found_there = next(named, None)
        mode = int(serve.socket_mode, 8)
        return open_unix_listener(Path(serve.socket), mode) if found_there is None else found_there.dup()
    try:
        found = socket.getaddrinfo(
            serve.host, serve.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except socket.gaierror as error:
        raise HostError(
            f"serve.host {serve.host!r} is no address of this host: {error.strerror}",
            hint="use 127.0.0.1, or an address that 'ip address' shows",
            code="host.address",
        ) from error
    family, kind, protocol, _, address = found[0]
    for other in handed:
        if other.family == family and other.getsockname()[:2] == address[:2]:
            return other.dup()
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _translated(error, serve) from error
    return listener


def open_beside(others: Mapping[str, str | None], serve: Serve, handed: Sequence[socket.socket] = ()) -> socket.socket:
    """As ``open_listener``, and a place that one of the deployments in ``others``, with their URLs, has is named so."""
    try:
        return open_listener(serve, handed)
    except HostError as error:
        end = f":{serve.port}" if serve.socket is None else f"unix:{serve.socket}"
        owner = next((name for name, url in others.items() if url and url.endswith(end)), None)
        if owner is None or error.code not in ("host.port_in_use", "host.socket_in_use"):
            raise
        raise HostError(
            f"{serve.place} is in use by the deployment {owner!r}",
            hint="give each deployment its own serve.port or serve.socket, or stop that one",
            code=error.code,
            expected="a place that is free",
            actual=others[owner],
        ) from error


def place_of(listener: socket.socket) -> str:
    """``HOST:PORT``, or the path of a unix socket."""
    if listener.family == socket.AF_UNIX:
        return str(listener.getsockname())
    return host_and_port(*listener.getsockname()[:2])


def url_of(listener: socket.socket, serve: Serve = _PLAIN) -> str:
    """Where clients on this host reach it: ``http://HOST:PORT``, or ``unix:PATH``.

    With TLS it is ``https://``, and the name of the certificate where one is given.
    """
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}" if serve.tls is None else f"https://{serve.tls.name or host}:{port}"


def _translated(error: OSError, serve: Serve) -> HostError:
    where = f"{serve.host}:{serve.port}"
    if error.errno == errno.EADDRINUSE:
        return HostError(
            f"port {serve.port} of {serve.host} is in use by another process",
            hint=f"choose another serve.port, or find who has it: ss -ltnp 'sport = :{serve.port}'",
            code="host.port_in_use",
            expected="a free port",
            actual=where,
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return HostError(
            f"no permission to listen on {where}",
            hint="choose a port of 1024 or more",
            code="host.port_forbidden",
            actual=where,
        )
    return HostError(
        f"cannot listen on {where}: {error.strerror}",
        hint="use 127.0.0.1, or an address that 'ip address' shows",
        code="host.address",
        actual=where,
    )
