"""Listening sockets: opened by the supervisor, inherited by the workers, kept while any revision uses them."""

from __future__ import annotations

import errno
import socket

from hyperion.domain.config import Serve
from hyperion.errors import ConfigError, HostError, Problem

BACKLOG = 2048
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

    def keep_only(self, revision: int) -> None:
        """Forget every other revision."""
        for other in [number for number in self._sockets if number != revision]:
            self.release(other)

    def close(self) -> None:
        """Close all: new clients are refused."""
        for listener in self._sockets.values():
            listener.close()
        self._sockets.clear()


def require_guarded(serve: Serve) -> None:
    """Refuse to listen beyond loopback without ``insecure``, since there are no keys yet.

    Raises:
        ConfigError: Code ``config.insecure_host``.
    """
    if serve.insecure or serve.is_loopback:
        return
    raise ConfigError(
        f"serve.host is {serve.host!r}: anyone who reaches this host could use the model, for there are no keys yet",
        problems=[Problem("serve.host", f"expected a loopback address, found {serve.host!r}")],
        hint="serve on 127.0.0.1 behind a proxy that authenticates, or say serve.insecure or --insecure",
        code="config.insecure_host",
    )


def open_listener(serve: Serve) -> socket.socket:
    """Bind and listen; connections wait in the backlog until a worker accepts.

    Raises:
        HostError: The port is in use (code ``host.port_in_use``), needs rights (``host.port_forbidden``), or the
            address is not one of this host's (``host.address``).
    """
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


def url_of(listener: socket.socket) -> str:
    """Where clients on this host reach it."""
    host, port = listener.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
