"""The machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.platform import PlatformProfile


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process took so far; None where the kernel does not say."""

    cpu_s: float
    resident_bytes: int
    proportional_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None


class HostFacts(Protocol):
    def platform(self) -> PlatformProfile:
        """This host, as a profile (without the engine's operators)."""

    def platform_name(self) -> str:
        """The profile's name alone, ``linux/amd64``, without asking the machine for the rest."""

    def memory_bytes(self) -> int | None:
        """Memory of this machine, or less where a control group of ours allows less; None where nothing says."""

    def memory_available_bytes(self) -> int:
        """What new processes may take without swapping, by the kernel's estimate, and by our control groups' limits."""

    def memory_in_use_bytes(self) -> int | None:
        """What all processes of the machine hold that is in no file; None where the kernel does not say."""

    def process(self, pid: int, *, proportional: bool = True) -> ProcessUsage | None:
        """None where the process is gone.

        Args:
            pid: Which one.
            proportional: Whether to ask for its share of the pages that it has in common with others, too: the kernel
                takes milliseconds for that, walking every page.
        """

    def page_cache_resident_ratio(self, paths: Sequence[Path]) -> float | None:
        """Share of these files' pages in the page cache (mincore); None where the kernel does not say."""

    def hardware_counters(self, pids: Sequence[int], duration_s: float) -> tuple[dict[str, int | None], str | None]:
        """Cycles, instructions, cache_references, cache_misses of these processes over ``duration_s``.

        Where they cannot be read all values are None and the second item says why.
        """

    def disk_usage(self, path: Path) -> int:
        """Bytes on disk of a file or tree."""

    def user(self) -> str:
        """Name of the operating-system user."""

    def port_is_free(self, host: str, port: int) -> bool: ...

    def socket_fault(self, path: Path) -> str | None:
        """Why no unix socket could be bound there; None where it could, also in place of one that nobody listens on."""
