"""`extract model`: a package file becomes the same package as a directory."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.document import Digest, Document
from hyperion.domain.manifest import MANIFEST
from hyperion.format.block_pump import BlockPump
from hyperion.format.free_space import require_space
from hyperion.format.verified import check_content, pump_entry
from hyperion.ports import Host, Reporter


class ExtractSummary(Document):
    """What was extracted."""

    name: str
    version: str
    digest: Digest
    output: str
    entries: int
    """Without manifest.json."""
    size_bytes: int
    """Payload of all entries."""


def extract_model(host: Host, source: Path, output: Path, reporter: Reporter) -> ExtractSummary:
    """Write every entry of a package as a file, verified while it is written.

    Args:
        host: What the use case runs on.
        source: Package in any form.
        output: Folder to make; it may exist if it is empty.
        reporter: Told of the bytes written.

    Raises:
        ConflictError: ``output`` exists and is not empty (code ``conflict.exists``).
        NotFoundError: There is no package.
        PackageError: The package is broken; no output is left behind.
        HostError: No space, no permission.
    """
    with host.packages.open(source) as package, host.files.staging(output) as folder:
        total = package.manifest.total_bytes
        require_space(folder, total + len(package.manifest_bytes), str(output))
        with reporter.stage("Extracting", total, "B") as advance, BlockPump() as pump:
            for name in package.names():
                check_content(package, name)
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    pump_entry(package, name, pump, write=stream.write, progress=advance)
        (folder / MANIFEST).write_bytes(package.manifest_bytes)
        return ExtractSummary(
            name=package.manifest.name,
            version=package.manifest.version,
            digest=package.digest,
            output=str(output),
            entries=len(package.names()),
            size_bytes=total,
        )
