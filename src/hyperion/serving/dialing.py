"""Who may connect does it for those who may not.

A confined worker can make no socket and connect to nothing: whoever takes it over could otherwise reach the
supervisor's own door. It listens at paths that it bound before; the supervisor connects there for the workers that
are to reach it, and sends each the connected socket beside the order.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hyperion.errors import HostError
from hyperion.serving.channel import LeaveTraffic, Rest, Route, ToWorker


def dial(message: ToWorker) -> tuple[ToWorker, list[socket.socket]]:
    """The message with only the paths that could be reached, and a connected socket for each of them."""
    match message:
        case Route(paths=paths) if paths:
            reached = _connected(paths)
            return msgspec.structs.replace(message, paths=list(reached)), list(reached.values())
        case LeaveTraffic(heirs=heirs) | Rest(heirs=heirs) if heirs:
            reached = _connected(heirs)
            return msgspec.structs.replace(message, heirs=list(reached)), list(reached.values())
    return message, []


def _connected(paths: Iterable[str]) -> dict[str, socket.socket]:
    """Connected sockets by path; a peer that is gone, or takes nobody, is left out."""
    reached: dict[str, socket.socket] = {}
    for path in paths:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.setblocking(False)  # a full backlog is an error and no wait: the supervisor stands still for nobody
        try:
            end.connect(path)
        except OSError:
            end.close()
        else:
            reached[path] = end
    return reached


def bind_at(path: str) -> socket.socket:
    """A unix socket to listen on, to be made before the process is confined; nobody reaches it yet.

    Args:
        path: A name in a private folder; what is there was left by an earlier process of our pid.

    Raises:
        HostError: The socket cannot be made (code ``host.io``).
    """
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)
        door.bind(path)
        Path(path).chmod(0o600)
        door.setblocking(False)
    except OSError as error:
        door.close()
        raise HostError(f"cannot listen at {path}: {error}", code="host.io") from error
    return door
