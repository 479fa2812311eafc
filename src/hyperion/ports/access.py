"""Where the API keys of this host are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hyperion.domain.access import KeyRing


class KeyRings(Protocol):
    """The one key ring of a state folder."""

    def load(self) -> KeyRing:
        """The keys; none where none was ever made.

        Raises:
            ConfigError: The file is damaged (code ``keys.malformed``).
            HostError: It cannot be read.
        """

    def change(self, edit: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Replace the ring by what ``edit`` makes of it, durably; nobody else changes it meanwhile.

        Raises:
            ConfigError, HostError: As ``load``; or it cannot be written.
        """

    def stamp(self) -> object:
        """Equal as long as nobody changed the ring, and quick to ask for."""
