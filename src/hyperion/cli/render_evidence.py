"""What the gates of a rollout rested on, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hyperion.cli.render import line

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.event import Event


def show_evidence(console: Console, events: Iterable[Event]) -> None:
    """The evidence of each event that has some; what a later version wrote in other words is left to ``--json``."""
    from pydantic import ValidationError

    from hyperion.domain.evidence import Evidence

    for event in events:
        try:
            evidence = Evidence.model_validate(event.data.get("evidence"), strict=False)
        except ValidationError:
            continue
        line(console, f"evidence of event {event.sequence}, {event.kind.value} of revision {event.revision}", "bold")
        for sentence in evidence.sentences:
            line(console, f"  {sentence}")
        line(console, "")
