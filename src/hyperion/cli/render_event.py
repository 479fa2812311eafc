"""How an event of the ledger reads in one line; what fills pages is left to ``history NAME --revision N``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hyperion.cli.render_evidence import evidence_of
from hyperion.cli.text import bytes_for_people
from hyperion.domain.confinement import count_in_force
from hyperion.domain.digest import short
from hyperion.domain.event import EventKind

if TYPE_CHECKING:
    from hyperion.domain.document import JsonValue
    from hyperion.domain.event import Event

IN_REVISIONS = frozenset({"actor", "created_at", "deployment", "number", "model", "origin"})
"""Data of events that the table of revisions shows already."""

UNKNOWN = "of a later Hyperion, which knows this kind"


def told(event: Event) -> str:
    """What an event says beside its kind and its revision."""
    if not isinstance(event.kind, EventKind):
        return ", ".join(filter(None, (UNKNOWN, _told_data(event))))
    return ", ".join(filter(None, (_TELL.get(event.kind, _told_data)(event), _told_evidence(event))))


def _told_data(event: Event) -> str:
    return ", ".join(
        f"{key} {short(str(value)) if key == 'digest' else value}"
        for key, value in event.data.items()
        if isinstance(value, (str, int, float)) and value != "" and key not in IN_REVISIONS
    )


def _told_confinement(event: Event) -> str:
    count = count_in_force(_names(event.data, "in_force"), _names(event.data, "missing"))
    return f"{count}; why: --revision {event.revision}" if _names(event.data, "missing") else count


def _told_evidence(event: Event) -> str:
    evidence = evidence_of(event)
    return "" if evidence is None else evidence.line


def _names(data: Mapping[str, JsonValue], key: str) -> list[str]:
    """Names that stand in one text, as the ledger holds them."""
    found = str(data.get(key) or "nothing")
    return [] if found == "nothing" else found.split(", ")


def _told_memory(event: Event) -> str:
    """What the workers of an unloaded revision took, and by how much less all processes hold since."""
    workers, taken, before, after = (event.data.get(key) for key in _MEMORY)
    if not isinstance(taken, int) or not isinstance(before, int) or not isinstance(after, int):
        return _told_data(event)
    back = before - after
    held = f"{bytes_for_people(back)} less" if back >= 0 else f"{bytes_for_people(-back)} more"
    return f"workers {workers} took {bytes_for_people(taken)}, all processes hold {held} now"


_MEMORY = ("workers", "taken_bytes", "host_before_bytes", "host_after_bytes")
_TELL: dict[EventKind, Callable[[Event], str]] = {
    EventKind.WORKERS_CONFINED: _told_confinement,
    EventKind.WORKERS_UNLOADED: _told_memory,
}
