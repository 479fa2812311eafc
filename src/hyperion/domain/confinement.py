"""What holds a process back: which of the kernel's protections are in force, and why another is not."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from hyperion.domain.document import Document

ProtectionName = Literal[
    "no_new_privileges", "file_access", "system_calls", "resources", "user", "address_space", "memory"
]


MEANS: dict[str, str] = {
    "no_new_privileges": "no_new_privs",
    "file_access": "Landlock",
    "system_calls": "seccomp",
    "resources": "rlimits",
    "user": "own user",
    "address_space": "RLIMIT_AS",
    "memory": "cgroup",
}
"""What people know each protection by."""


class Protection(Document):
    """One of the kernel's means of confinement."""

    name: ProtectionName
    in_force: bool
    detail: str
    """What it holds back and by which means; where it is not in force, why not."""

    @property
    def means(self) -> str:
        """What people know it by."""
        return means_of(self.name)

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.in_force else f"{self.name}: NOT in force: {self.detail}"


class Confinement(Document):
    """All of them, of one process or of this host."""

    protections: tuple[Protection, ...]

    @property
    def missing(self) -> tuple[Protection, ...]:
        """Those that are not in force."""
        return tuple(protection for protection in self.protections if not protection.in_force)

    def __str__(self) -> str:
        return "; ".join(map(str, self.protections))


def means_of(name: str) -> str:
    """What people know a protection by; the name itself where a later version added it."""
    return MEANS.get(name, name)


def count_in_force(in_force: Collection[str], missing: Collection[str]) -> str:
    """How many protections are in force and which are not, in a few words.

    Args:
        in_force: Names of protections.
        missing: Names of the others.
    """
    told = f"{len(in_force)} of {len(in_force) + len(missing)} protections in force"
    return f"{told}; missing: {', '.join(map(means_of, missing))}" if missing else told
