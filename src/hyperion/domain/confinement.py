"""What holds a process back: which of the kernel's protections are in force, and why another is not."""

from __future__ import annotations

from typing import Literal

from hyperion.domain.document import Document

ProtectionName = Literal[
    "no_new_privileges", "file_access", "system_calls", "resources", "user", "address_space", "memory"
]


class Protection(Document):
    """One of the kernel's means of confinement."""

    name: ProtectionName
    in_force: bool
    detail: str
    """What it holds back and by which means; where it is not in force, why not."""

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
