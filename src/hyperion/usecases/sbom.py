"""``sbom``: a package's bill of materials, written beside it."""

from __future__ import annotations

import os
from pathlib import Path

from hyperion.domain.document import Digest, Document
from hyperion.errors import ConflictError, HostError
from hyperion.format.cyclonedx import bom_bytes, is_own_bom
from hyperion.format.limits import MAX_JSON_BYTES
from hyperion.format.package import PackageReader
from hyperion.ports import Host
from hyperion.usecases.source_date import source_date


class WrittenBom(Document):
    """A bill of materials that was written."""

    path: str
    name: str
    version: str
    digest: Digest
    """Of the package."""
    components: int
    """Files that it lists."""
    size_bytes: int


def print_bom(host: Host, path: Path, tool_version: str) -> str:
    """The bill of materials of a package, as CycloneDX JSON; the same package gives the same text.

    Args:
        host: What the use case runs on.
        path: Package in any form.
        tool_version: This Hyperion's.

    Raises:
        NotFoundError: There is nothing at ``path``.
        PackageError: It is no package.
        ConfigError: SOURCE_DATE_EPOCH is no count of seconds.
    """
    with host.packages.open(path) as package:
        return _make_bom(package, tool_version).decode()


def write_bom(host: Host, path: Path, output: Path, tool_version: str) -> WrittenBom:
    """Write the same to a file; an earlier bill of materials at ``output`` is replaced, nothing else is.

    Raises:
        NotFoundError: There is nothing at ``path``.
        PackageError: It is no package.
        ConfigError: SOURCE_DATE_EPOCH is no count of seconds.
        ConflictError: Another file is at ``output`` (code ``conflict.output_exists``).
        HostError: No space, no permission.
    """
    with host.packages.open(path) as package:
        raw = _make_bom(package, tool_version)
        _check_output(output)
        with host.files.replacing(output) as stream:
            stream.write(raw)
        return WrittenBom(
            path=str(output),
            name=package.manifest.name,
            version=package.manifest.version,
            digest=package.digest,
            components=len(package.manifest.entries) + 1,
            size_bytes=len(raw),
        )


def _make_bom(package: PackageReader, tool_version: str) -> bytes:
    return bom_bytes(package.manifest, package.digest, tool_version, source_date())


def _check_output(output: Path) -> None:
    """Refuse to touch anything that is there and is no bill of materials of ours."""
    try:
        if not os.path.lexists(output):
            return
        found = b""
        if output.is_file():  # a pipe would be waited for, a device never ends
            with output.open("rb") as stream:
                found = stream.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise HostError(f"cannot read {output}: {error.strerror}", code="host.io") from error
    if not is_own_bom(found):
        raise ConflictError(
            f"{output}: exists and is no bill of materials that Hyperion wrote; it was not touched",
            hint="choose another --output, or remove it",
            code="conflict.output_exists",
        )
