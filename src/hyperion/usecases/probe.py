"""Describe this machine, so that packages can be checked against it elsewhere."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.platform import PlatformProfile
from hyperion.errors import ConflictError, HyperionError
from hyperion.ports import Host
from hyperion.usecases.config import load_config
from hyperion.verification.compatibility import local_profile


def probe_platform(host: Host, output: Path | None = None) -> PlatformProfile:
    """This host and its engine as a profile, also written to ``output`` where that is given.

    Raises:
        ConflictError: ``output`` exists and is no platform profile (code ``platform.not_ours``).
        HostError: It cannot be written.
    """
    if output is not None:
        _refuse_others(output)
    profile = local_profile(host)
    if output is not None:
        with host.files.replacing(output) as stream:
            stream.write(profile.model_dump_json(indent=2, exclude_none=True, by_alias=True).encode() + b"\n")
    return profile


def _refuse_others(output: Path) -> None:
    if not output.exists():
        return
    try:
        load_config(PlatformProfile, output)
    except HyperionError as error:
        raise ConflictError(
            f"{output} exists and is no platform profile; it was not touched",
            hint="name another file, or remove this one",
            code="platform.not_ours",
        ) from error
