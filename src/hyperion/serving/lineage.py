"""The revisions of a deployment that are in use, each with the socket that it listens on."""

from __future__ import annotations

from collections.abc import Collection
from socket import socket

from hyperion.domain.deployment import Revision
from hyperion.serving.listener import Listeners, url_of
from hyperion.serving.unix_listener import set_mode


class Lineage:
    """Revisions by number; several may share a socket."""

    def __init__(self) -> None:
        self._revisions: dict[int, Revision] = {}
        self._listeners = Listeners()

    def __getitem__(self, number: int) -> Revision:
        return self._revisions[number]

    def get(self, number: int | None) -> Revision | None:
        """None where that revision is not in use."""
        return None if number is None else self._revisions.get(number)

    def listener(self, number: int) -> socket:
        return self._listeners[number]

    def url(self, number: int | None) -> str | None:
        """Where clients reach the revision; None where it has no socket."""
        listener, revision = None if number is None else self._listeners.of(number), self.get(number)
        return None if listener is None or revision is None else url_of(listener, revision.config.serve)

    def open_to(self, number: int) -> None:
        """Let those connect to the revision's unix socket whom its config names, and nobody else."""
        listener, serve = self._listeners.of(number), self._revisions[number].config.serve
        if listener is not None and serve.socket is not None:
            set_mode(listener, int(serve.socket_mode, 8))

    def add(self, revision: Revision, listener: socket) -> None:
        self._revisions[revision.number] = revision
        self._listeners.add(revision.number, listener)

    def shared(self, number: int | None, revision: Revision) -> socket | None:
        """The socket of the revision in use, where the other one is to listen at the same place; else None."""
        used = self.get(number)
        if used is None:
            return None
        stays = used.config.serve.address == revision.config.serve.address
        return self._listeners.of(used.number) if stays else None

    def moves(self, number: int | None, listener: socket) -> bool:
        """Whether this is another socket than that of the revision in use."""
        return number is not None and self._listeners.of(number) is not listener

    def keep_open(self, numbers: Collection[int | None]) -> None:
        """Close the sockets that only others use: their clients are refused from here on."""
        self._listeners.keep_only(numbers)

    def keep_only(self, numbers: Collection[int | None]) -> None:
        """Forget every other revision, and its socket."""
        self.keep_open(numbers)
        self._revisions = {number: kept for number, kept in self._revisions.items() if number in numbers}

    def close(self) -> None:
        """Close all sockets: new clients are refused."""
        self._listeners.close()
