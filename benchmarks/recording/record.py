"""What a recording holds: the commands with their output, and what the clients saw meanwhile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from examples.deployment_guide import DEPLOYMENT, ROLLBACK
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from benchmarks.recording.clients import Seen

SLICE_S = 0.5
"""Length of the slices of time in the picture."""


@dataclass(frozen=True)
class Typed:
    """A command and what came of it; times in seconds since the recording began."""

    command: str
    began_s: float
    took_s: float
    exit_code: int
    expected: int
    output: str


@dataclass(frozen=True)
class Answered:
    """What one revision answered during an act; ``revision`` is None for what nobody answered.

    Attributes:
        first_s: When the first of its answers came, since the recording began.
        last_s: When the last one came.
        failed: How many of the answers were wrong, or errors.
    """

    revision: int | None
    version: str | None
    first_s: float
    last_s: float
    answers: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Act:
    """Some commands that belong together, and what the clients saw until the next act.

    Attributes:
        forgiven_version: The version of a bad candidate: what this one answers may be wrong.
        held: How many requests may go unanswered, since a process that held their connections was killed.
        faults: How often each was seen.
    """

    title: str
    about: str
    forgiven_version: str | None
    held: int
    typed: tuple[Typed, ...]
    answered: tuple[Answered, ...]
    faults: dict[str, int]

    @property
    def answers(self) -> int:
        return sum(found.answers for found in self.answered)

    @property
    def failed(self) -> int:
        return sum(found.failed for found in self.answered)

    def broken(self) -> list[str]:
        """What is not as it must be."""
        words = [
            f"`{typed.command}` ended with exit code {typed.exit_code}, not {typed.expected}"
            for typed in self.typed
            if typed.exit_code != typed.expected
        ]
        for found in self.answered:
            if found.revision is None and found.failed > self.held:
                words.append(f"{found.failed} requests went unanswered, where {self.held} may")
            if found.revision is not None and found.failed and found.version != self.forgiven_version:
                words.append(f"{found.failed} answers of revision {found.revision} failed")
        return words


@dataclass(frozen=True)
class Recording:
    """A whole run.

    Attributes:
        commit: The source that ran.
        machine: Facts, one line each.
        prepared: Commands that went before the clients.
        distance: Smallest distance of the answers of 1.0.0 and 1.1.0 to the same question.
        lasted_s: From the first request to the last.
        whole: By revision, over all acts.
        slices: Answers of each revision (as text; "-" for none) in each slice of time.
    """

    commit: str
    machine: tuple[str, ...]
    prepared: tuple[str, ...]
    distance: float
    lasted_s: float
    acts: tuple[Act, ...]
    whole: tuple[Answered, ...]
    slices: dict[str, tuple[int, ...]]

    def of_the_guide(self) -> list[Act]:
        """The acts in which nothing but the guide's commands was typed."""
        guide = {*DEPLOYMENT, *ROLLBACK}
        return [act for act in self.acts if guide.issuperset(typed.command for typed in act.typed)]

    def broken(self) -> list[str]:
        """What is not as it must be, over all acts."""
        return [f"{act.title}: {words}" for act in self.acts for words in act.broken()]


_ADAPTER: TypeAdapter[Recording] = TypeAdapter(Recording)


def save(recording: Recording, path: Path) -> None:
    path.write_bytes(_ADAPTER.dump_json(recording, indent=1) + b"\n")


def load(path: Path) -> Recording:
    return _ADAPTER.validate_json(path.read_bytes())


def by_revision(seen: Sequence[Seen]) -> tuple[Answered, ...]:
    """What each revision answered, in the order of the revisions, with what nobody answered at the end."""
    found: dict[int | None, list[Seen]] = {}
    for one in seen:
        found.setdefault(one.revision, []).append(one)
    order = sorted(found, key=lambda revision: math.inf if revision is None else revision)
    return tuple(_answered(revision, found[revision]) for revision in order)


def _answered(revision: int | None, own: Sequence[Seen]) -> Answered:
    latencies = sorted(one.latency_ms for one in own)
    return Answered(
        revision=revision,
        version=next((one.version for one in own if one.version is not None), None),
        first_s=min(one.at_s for one in own),
        last_s=max(one.at_s for one in own),
        answers=len(own),
        failed=sum(one.fault is not None for one in own),
        p50_ms=percentile(latencies, 0.5),
        p99_ms=percentile(latencies, 0.99),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def faults(seen: Sequence[Seen]) -> dict[str, int]:
    """How often each cause made a request fail, most frequent first."""
    return dict(Counter(one.fault for one in seen if one.fault is not None).most_common())


def sliced(seen: Sequence[Seen]) -> dict[str, tuple[int, ...]]:
    """How many answers of each revision came in each slice of time, in the order of the revisions."""
    count = int(max(one.at_s for one in seen) / SLICE_S) + 1
    slices: dict[str, list[int]] = {}
    for one in seen:
        key = "-" if one.revision is None else str(one.revision)
        slices.setdefault(key, [0] * count)[int(one.at_s / SLICE_S)] += 1
    order = sorted(slices, key=lambda key: math.inf if key == "-" else int(key))
    return {key: tuple(slices[key]) for key in order}
