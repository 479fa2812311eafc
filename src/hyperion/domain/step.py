"""The smallest honest step between two versions: what their contents ask for, and what their numbers take."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.caller import WEIGHT, CallerView, StepReason, step_reasons
from hyperion.domain.document import Document
from hyperion.domain.version import Step, Version

_BEFORE_1_0_0 = {Step.PATCH: Step.MINOR, Step.MINOR: Step.MAJOR, Step.MAJOR: Step.MAJOR}


class StepVerdict(Document):
    """What two versions of a model differ in for callers, and whether their numbers say so."""

    before: str
    after: str
    required: Step
    """The smallest step that is honest."""
    taken: Step | None
    """The step between the numbers; None where ``after`` does not come after ``before``."""
    honest: bool | None
    """Whether ``taken`` tells at least ``required``; None on the way back to a lower version, which tells nothing."""
    reasons: tuple[StepReason, ...]
    """What callers feel, the heaviest first; empty where they feel nothing."""

    @property
    def decisive(self) -> tuple[StepReason, ...]:
        """The reasons that alone ask for ``required``."""
        return tuple(reason for reason in self.reasons if reason.step is self.required)

    @property
    def sentence(self) -> str:
        """Required and taken in one line, such as ``1.0.0 → 1.1.0 is a minor step; a major one is needed``."""
        if self.taken is not None:
            needed = f"{self.required} is enough" if self.honest else f"{self.required} is needed"
            return f"{self.before} → {self.after} is a {self.taken} step; {needed}"
        if self.honest is None:
            return f"{self.before} → {self.after} goes back; what callers feel is {self.required}"
        return f"{self.before} → {self.after} is no step, yet the packages differ; {self.required} is needed"


def judge_step(before: CallerView, before_version: str, after: CallerView, after_version: str) -> StepVerdict:
    """Judge the step from one package to another one with other contents.

    The same version for both (by precedence) is not honest: one number then means two packages.
    """
    old, new = Version.parse(before_version), Version.parse(after_version)
    reasons = step_reasons(before, after)
    required, taken = required_step(reasons), step_taken(old, new)
    honest = None if new.precedes(old) else covers(taken, required)
    return StepVerdict(
        before=before_version, after=after_version, required=required, taken=taken, honest=honest, reasons=reasons
    )


def required_step(reasons: Iterable[StepReason]) -> Step:
    """The smallest step that keeps to all ``reasons``; PATCH where there are none."""
    return max((reason.step for reason in reasons), key=WEIGHT.__getitem__, default=Step.PATCH)


def step_taken(before: Version, after: Version) -> Step | None:
    """What a change of version tells callers; None where ``after`` does not come after ``before``.

    Of 0.y.z, for which SemVer promises nothing, y is the breaking place and z the other one, as Cargo and npm have it:
    0.1.4 → 0.2.0 tells what 1.4.0 → 2.0.0 tells, and 0.1.4 → 0.1.5 what 1.4.0 → 1.5.0 does. A pre-release takes
    the step of its release: 1.4.0 → 2.0.0-rc.1 is major. Up to that release, every further one may change as much as
    the release may: 2.0.0-rc.1 → 2.0.0-rc.2 and → 2.0.0 are major, 1.5.0-rc.1 → 1.5.0 is minor. Build metadata
    is no step.
    """
    if not before.precedes(after):
        return None
    places = []
    if before.prerelease is not None:
        places.append(_told(before, is_major=before.minor == before.patch == 0, is_minor=before.patch == 0))
    if (before.major, before.minor, before.patch) != (after.major, after.minor, after.patch):
        is_major = before.major != after.major
        places.append(_told(after, is_major=is_major, is_minor=before.minor != after.minor))
    return max(places, key=WEIGHT.__getitem__)


def covers(taken: Step | None, required: Step) -> bool:
    """Whether a step tells callers at least as much as ``required``."""
    return taken is not None and WEIGHT[taken] >= WEIGHT[required]


def next_version(before: Version, required: Step) -> Version:
    """The lowest bump of ``before`` that takes at least the step ``required``."""
    bumped = (before.bump(step) for step in (Step.PATCH, Step.MINOR))
    return next((found for found in bumped if covers(step_taken(before, found), required)), before.bump(Step.MAJOR))


def _told(version: Version, *, is_major: bool, is_minor: bool) -> Step:
    """The step that a raised place tells: before 1.0.0 it stands for the next heavier one."""
    step = Step.MAJOR if is_major else Step.MINOR if is_minor else Step.PATCH
    return _BEFORE_1_0_0[step] if version.major == 0 else step
