"""Platform profiles: what a target machine offers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hyperion.domain.confinement import Confinement
from hyperion.domain.document import WrittenDocument


class PlatformProfile(WrittenDocument):
    """What ``hyperion platform probe`` writes on the target; ``linux/amd64`` alone gives only the first two."""

    os: str
    architecture: str
    """Go/OCI spelling: amd64, arm64, …"""
    cpu_features: tuple[str, ...] | None = None
    """Lower-case flags such as avx2, avx512_vnni, asimddp; None where unknown."""
    cores: Annotated[int, Field(ge=1)] | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    disk_free_bytes: Annotated[int, Field(ge=0)] | None = None
    engine_version: str | None = None
    opsets: dict[str, int] | None = None
    """Newest operator set that the engine runs, by domain."""
    operators: tuple[str, ...] | None = None
    """``domain::Operator`` that the engine registers."""
    confinement: Confinement | None = None
    """What holds children and workers back there."""
    probed_at: str | None = None

    @property
    def name(self) -> str:
        return f"{self.os}/{self.architecture}"
