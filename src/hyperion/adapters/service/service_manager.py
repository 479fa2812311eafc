"""systemd from inside a service: its two protocols, without its library.

Sources: man 3 sd_notify (datagrams to ``$NOTIFY_SOCKET``), man 3 sd_listen_fds (descriptors from 3 on, for the process
that ``$LISTEN_PID`` names), man 3 sd_watchdog_enabled.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, MutableMapping

FIRST_DESCRIPTOR = 3
_FOR_US_ALONE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")

_log = logging.getLogger(__name__)


class SystemdManager:
    """Implements ports.ServiceManager; silent where systemd did not start us.

    Args:
        environ: The process's environment; what was meant for us alone is taken out, so that no child believes it.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        given = self._given = {name: environ.pop(name) for name in _FOR_US_ALONE if name in environ}
        own = str(os.getpid())
        self._address = given.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _seconds(given) if given.get("WATCHDOG_PID", own) == own else None
        self._listeners = _inherited(given) if given.get("LISTEN_PID") == own else ()

    @property
    def watchdog_s(self) -> float | None:
        return self._watchdog_s

    def tell(self, *states: str) -> bool:
        """Say it in one datagram, without waiting where it cannot be taken now; see ports.ServiceManager."""
        if not self._address:
            return True
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
                end.connect(address)
                end.send("\n".join(states).encode())
        except OSError as error:
            _log.warning("systemd could not be told %s: %s", " ".join(states), error)
            return False
        return True

    def listeners(self) -> tuple[socket.socket, ...]:
        return self._listeners

    def hand_over(self) -> Mapping[str, str]:
        for listener in self._listeners:  # they lie where they were given, from FIRST_DESCRIPTOR on
            listener.set_inheritable(True)
        return self._given


def _seconds(given: MutableMapping[str, str]) -> float | None:
    text = given.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) else None


def _inherited(given: MutableMapping[str, str]) -> tuple[socket.socket, ...]:
    text = given.get("LISTEN_FDS", "")
    number = int(text) if text.isascii() and text.isdigit() else 0
    found = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + number):
        try:
            one = socket.socket(fileno=descriptor)
            listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            _log.warning("descriptor %d from systemd is no socket: %s", descriptor, error)
            continue
        if not listens:
            _log.warning("descriptor %d from systemd does not listen: the socket unit needs ListenStream", descriptor)
            continue
        one.set_inheritable(False)
        one.setblocking(False)
        found.append(one)
    return tuple(found)
