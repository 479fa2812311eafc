"""Ports for the servers of tests."""

from __future__ import annotations

import random
import socket

_BELOW_THE_KERNELS = range(20_000, 32_000)
"""No `bind` to port 0 and no client's connection gets one of these by Linux's default (ip_local_port_range): what is
found free here stays so until the test uses it, whatever the tests beside it do."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    chance = random.SystemRandom()  # the seed of `random` is the same for every test
    while True:
        port = chance.choice(_BELOW_THE_KERNELS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
