"""What the host gets back when a revision is unloaded.

Workers are processes, so their end gives all of it back, whatever the engine keeps in reserve. What was measured is
told all the same: what the workers took just before they ended, and what all processes of the host held before and
after. The second is the whole host's: others take and give meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from hyperion.ports import HostFacts

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What the workers of one revision were, and what the host says.

    Attributes:
        workers: How many ended.
        taken_bytes: What they took, pages that they shared with others counted in part; None where that is not known.
        before_bytes: What all processes of the host held just before the first of them ended, beside pages of files;
            None where that is not known.
        after_bytes: And just after the last of them.
    """

    workers: int
    taken_bytes: int | None
    before_bytes: int | None
    after_bytes: int | None

    def __str__(self) -> str:
        took = "" if self.taken_bytes is None else f" took {self.taken_bytes / MIB:.0f} MiB and"
        workers = "its worker" if self.workers == 1 else f"its {self.workers} workers"
        if self.before_bytes is None or self.after_bytes is None:
            return f"{workers}{took} ended"
        before, after = self.before_bytes / MIB, self.after_bytes / MIB
        return f"{workers}{took} ended; all processes of this host held {before:.0f} MiB before, {after:.0f} MiB after"


class Unloading:
    """Follows the workers of one deployment to their end."""

    def __init__(self, facts: HostFacts) -> None:
        self._facts = facts
        self._before: dict[int, int | None] = {}
        self._left_with: dict[int, int | None] = {}
        self._taken: dict[int, tuple[int, int | None]] = {}
        self._ended: dict[int, list[int | None]] = {}

    def leaves(self, pid: int) -> None:
        """Call when a worker leaves traffic: its end may be faster than the next question."""
        self._left_with[pid] = self._size(pid)

    def ends(self, revision: int, pid: int) -> None:
        """Call just before a worker's process ends, as far as that is known beforehand."""
        self._taken[pid] = revision, self._size(pid) or self._left_with.get(pid)
        if revision not in self._before:
            self._before[revision] = self._facts.memory_in_use_bytes()

    def ended(self, pid: int) -> None:
        """Call when the process has ended."""
        self._left_with.pop(pid, None)
        if (found := self._taken.pop(pid, None)) is not None:
            revision, taken = found
            self._ended.setdefault(revision, []).append(taken)

    def unloaded(self, revision: int) -> Unloaded | None:
        """What was measured, once no worker of the revision is left; None where none of them was seen to end."""
        before, taken = self._before.pop(revision, None), self._ended.pop(revision, [])
        if not taken:
            return None
        known = [size for size in taken if size is not None]
        total = sum(known) if len(known) == len(taken) else None
        return Unloaded(len(taken), total, before, self._facts.memory_in_use_bytes())

    def _size(self, pid: int) -> int | None:
        """In bytes; None where it has ended: until it is reaped, the kernel says 0."""
        usage = self._facts.process(pid)
        return None if usage is None else usage.proportional_bytes or usage.resident_bytes or None
