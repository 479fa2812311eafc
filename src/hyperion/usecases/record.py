"""Record an event: through the supervisor where one runs, since it then is the ledger's only writer."""

from __future__ import annotations

from hyperion.domain.command import Record, Recorded
from hyperion.domain.event import Event, EventDraft
from hyperion.ports import Host
from hyperion.usecases.ask import ask_supervisor


def record_event(host: Host, draft: EventDraft) -> Event:
    """Append an event to the ledger and return it."""
    recorded = ask_supervisor(host, Record(draft=draft), Recorded)
    return host.ledger.append(draft) if recorded is None else recorded.event
