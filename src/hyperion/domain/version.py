"""The version of a model: SemVer 2.0.0 (https://semver.org), kept by the `semver` library."""

from __future__ import annotations

from enum import StrEnum
from functools import total_ordering

import semver

from hyperion.errors import ConfigError

MAX_LENGTH = 128


class Step(StrEnum):
    """Which part of a version a change raises."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


@total_ordering
class Version:
    """An immutable SemVer 2.0.0 version.

    Laws: ``str(Version.parse(text)) == text``; equality is textual (build metadata included), order is
    SemVer precedence with the build metadata as a tie-break so that order and equality agree.
    """

    __slots__ = ("_value",)

    def __init__(self, value: semver.Version) -> None:
        self._value = value

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version.

        Raises:
            ConfigError: ``text`` is not SemVer 2.0.0 (code ``version.invalid``).
        """
        try:
            if len(text) > MAX_LENGTH:
                raise ValueError
            return cls(semver.Version.parse(text))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{text[:MAX_LENGTH]!r} is not a semantic version",
                hint="write MAJOR.MINOR.PATCH, such as 1.0.0 or 2.1.0-rc.1 (https://semver.org)",
                code="version.invalid",
            ) from error

    def bump(self, step: Step) -> Version:
        """The next version for ``step``; a pre-release becomes its release where that is the next one."""
        return Version(self._value.next_version(part=step.value))

    @property
    def major(self) -> int:
        return self._value.major

    @property
    def minor(self) -> int:
        return self._value.minor

    @property
    def patch(self) -> int:
        return self._value.patch

    @property
    def prerelease(self) -> str | None:
        return self._value.prerelease

    @property
    def build(self) -> str | None:
        return self._value.build

    def precedes(self, other: Version) -> bool:
        """Whether SemVer precedence puts this version before ``other`` (build metadata ignored)."""
        return self._value.compare(other._value) < 0

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return f"Version({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        order = self._value.compare(other._value)
        return order < 0 or (order == 0 and (self.build or "") < (other.build or ""))
