"""What the gates of a rollout rested on, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hyperion.cli.render import line

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.event import Event
    from hyperion.domain.evidence import Evidence


def evidence_of(event: Event) -> Evidence | None:
    """The evidence that an event keeps; None without any, and where a later version wrote it in other words."""
    from pydantic import ValidationError

    from hyperion.domain.evidence import Evidence

    if "evidence" not in event.data:
        return None
    try:
        return Evidence.model_validate(event.data["evidence"], strict=False)
    except ValidationError:
        return None


def show_evidence(console: Console, events: Iterable[Event], *, breaches_only: bool = False) -> None:
    """The evidence of each event that has some, or of those alone where a gate was broken, sentence by sentence."""
    for event in events:
        evidence = evidence_of(event)
        if evidence is None or (breaches_only and not evidence.breaches):
            continue
        line(console, f"evidence of event {event.sequence}, {event.kind} of revision {event.revision}", "bold")
        for sentence in evidence.sentences:
            line(console, f"  {sentence}")
        line(console, "")
