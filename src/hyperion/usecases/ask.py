"""Ask the supervisor where one runs."""

from __future__ import annotations

from typing import TypeVar

from hyperion.domain.command import Command, Reply
from hyperion.errors import HostError
from hyperion.ports import Host

Answer = TypeVar("Answer")

_ENDED = ("supervisor.not_running", "supervisor.gone")
"""Codes of the error where there was a supervisor a moment ago."""


def ask_supervisor(host: Host, command: Command, expected: type[Answer]) -> Answer | None:
    """The supervisor's reply; None where none runs, or it ended before it replied.

    Raises:
        HyperionError: It refused; the very class and code that it named.
    """
    if host.control.ping() is None:
        return None
    try:
        reply = host.control.ask(command)
    except HostError as error:
        if error.code in _ENDED:
            return None
        raise
    return expect_reply(reply, expected)


def expect_reply(reply: Reply, expected: type[Answer]) -> Answer:
    """The reply, where it is of the kind that answers the command.

    Raises:
        HostError: It is another (code ``supervisor.unexpected_reply``).
    """
    if isinstance(reply, expected):
        return reply
    raise HostError(
        f"the supervisor answered with {type(reply).__name__}, expected {expected.__name__}",
        hint="it is of another version of Hyperion: 'hyperion stop --all', then repeat the command",
        code="supervisor.unexpected_reply",
    )
