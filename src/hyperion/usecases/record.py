"""Record an event: through the supervisor where one runs, since it then is the ledger's only writer."""

from __future__ import annotations

from hyperion.domain.command import Record, Recorded
from hyperion.domain.event import Event, EventDraft
from hyperion.errors import HostError
from hyperion.ports import Host

NOT_RUNNING = "supervisor.not_running"


def record_event(host: Host, draft: EventDraft) -> Event:
    """Append an event to the ledger and return it."""
    if host.control.ping() is None:
        return host.ledger.append(draft)
    try:
        reply = host.control.ask(Record(draft=draft))
    except HostError as error:
        if error.code != NOT_RUNNING:
            raise
        return host.ledger.append(draft)  # it ended between the two questions
    if not isinstance(reply, Recorded):
        raise unexpected(reply)
    return reply.event


def unexpected(reply: object) -> HostError:
    """The error for a reply that does not answer the command."""
    return HostError(
        f"the supervisor answered {type(reply).__name__}, which is no answer to this command",
        hint="it runs another version of Hyperion: 'hyperion stop --all', then repeat the command",
        code="supervisor.unexpected_reply",
    )
