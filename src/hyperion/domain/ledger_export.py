"""The ledger as a file that others keep: a line that names its end, then every event, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Document
from hyperion.domain.event import START, Event, LedgerHead


class LedgerExport(Document):
    """The first line of an export."""

    format: Literal["hyperion.ledger"] = "hyperion.ledger"
    """Marks the file as ours; no other is replaced."""
    format_version: Annotated[int, Field(ge=1, le=1)] = 1
    head: LedgerHead
    """The end of the ledger when it was exported, which is the last event that follows."""
    exported_at: datetime


def chain_end(events: Iterable[Event]) -> tuple[LedgerHead, int | None]:
    """The end of a chain, and the place of the first event that breaks it: None where each follows the one before."""
    head = START
    for event in events:
        if not event.follows(head):
            return head, head.sequence + 1
        head = LedgerHead(sequence=event.sequence, hash=event.hash)
    return head, None
