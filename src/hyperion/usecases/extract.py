"""`extract model`: a package file becomes the same package as a directory."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hyperion.domain.digest import PREFIX, digest_of
from hyperion.domain.document import Digest, Document
from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.errors import ConflictError, HostError
from hyperion.format.block_pump import BlockPump
from hyperion.format.free_space import require_space
from hyperion.format.package import PackageReader
from hyperion.format.verified import check_content, pump_entry
from hyperion.ports import Host, Reporter

_FOREIGN_NAMED = 5


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
    kept: int
    """Files that were there already, with the same bytes."""
    foreign: int
    """Files in the folder that are none of the package's: with any, the folder is no package."""
    foreign_files: tuple[str, ...]
    """The first of them."""


def extract_model(host: Host, source: Path, output: Path, reporter: Reporter) -> ExtractSummary:
    """Write every entry of a package as a file, verified.

    A fresh folder appears whole or not at all. To a folder that holds files already, what is absent is added;
    nothing in it is ever overwritten (docs/adr/0008).

    Args:
        host: What the use case runs on.
        source: Package in any form.
        output: Folder to make or to add to.
        reporter: Told of the bytes written.

    Raises:
        ConflictError: ``output`` is no folder, or holds a file that differs (code ``conflict.exists``); nothing was
            written.
        NotFoundError: There is no package.
        PackageError: The package is broken; no output is left behind.
        HostError: No space, no permission.
    """
    with host.packages.open(source) as package, _host_errors(output):
        if output.is_dir() and (output.is_symlink() or next(output.iterdir(), None) is not None):
            kept = _add_to(host, package, output, reporter)
            foreign = _foreign_files(package, output)
        else:
            kept, foreign = 0, []
            with host.files.staging(output) as folder:
                _fill(package, folder, reporter)
        if foreign:
            reporter.warn(_no_package(output, foreign))
        return ExtractSummary(
            name=package.manifest.name,
            version=package.manifest.version,
            digest=package.digest,
            output=str(output),
            entries=len(package.names()),
            size_bytes=package.manifest.total_bytes,
            kept=kept,
            foreign=len(foreign),
            foreign_files=tuple(foreign[:_FOREIGN_NAMED]),
        )


def _fill(package: PackageReader, folder: Path, reporter: Reporter) -> None:
    """Write everything into a fresh folder, verified while it is written."""
    total = package.manifest.total_bytes
    require_space(folder.parent, total + len(package.manifest_bytes), f"the entries of {package.source}")
    with reporter.stage("Extracting", total, "B") as advance, BlockPump() as pump:
        for name in package.names():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                pump_entry(package, name, pump, write=stream.write, progress=advance)
            check_content(package, name)  # of a damaged entry, the damage is the news
    for name, data in _unlisted(package).items():
        (folder / name).write_bytes(data)


def _add_to(host: Host, package: PackageReader, folder: Path, reporter: Reporter) -> int:
    """Add what is absent, once everything is verified and nothing differs; returns how many files were there."""
    total = package.manifest.total_bytes
    with reporter.stage("Checking", total, "B") as advance, BlockPump() as pump:
        for name in package.names():
            pump_entry(package, name, pump, progress=advance)
            check_content(package, name)
    absent = _absent(package, folder)
    sizes = {name: entry.size_bytes for name, entry in package.manifest.entries.items()}
    unlisted = _unlisted(package)
    needed = sum(sizes[name] if name in sizes else len(unlisted[name]) for name in absent)
    require_space(folder, needed, f"the entries of {package.source}")
    with reporter.stage("Extracting", needed, "B") as advance, BlockPump() as pump, _taken_back() as added:
        for name in absent:
            with _new_file(host, folder, name, added) as stream:
                if name in unlisted:
                    stream.write(unlisted[name])
                else:
                    pump_entry(package, name, pump, write=stream.write, progress=advance)
    return len(sizes) + len(unlisted) - len(absent)


def _foreign_files(package: PackageReader, folder: Path) -> list[str]:
    """Names of what lies in ``folder`` and is none of the package's files, sorted."""
    own = package.manifest.entries.keys() | _unlisted(package).keys()
    names: list[str] = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        names += (Path(root, name).relative_to(folder).as_posix() for name in (*files, *links))
    return sorted(name for name in names if name not in own)


def _no_package(output: Path, foreign: list[str]) -> str:
    more = f" and {len(foreign) - _FOREIGN_NAMED} more" if len(foreign) > _FOREIGN_NAMED else ""
    return (
        f"the folder {output} is no package: the package does not list {', '.join(map(repr, foreign[:_FOREIGN_NAMED]))}"
        f"{more}; to use it as one, move that out of it, or extract to a folder of its own"
    )


def _unlisted(package: PackageReader) -> dict[str, bytes]:
    """What the manifest does not list: model.sig where the package is signed, and the manifest, which comes last."""
    found = {} if package.signing is None else {SIGNING: package.signing}
    return found | {MANIFEST: package.manifest_bytes}


def _absent(package: PackageReader, folder: Path) -> list[str]:
    """Names of files that ``folder`` lacks, manifest.json last.

    Raises:
        ConflictError: It holds others under the same name; the message names them.
    """
    expected = {name: entry.digest for name, entry in package.manifest.entries.items()}
    expected |= {name: digest_of(data) for name, data in _unlisted(package).items()}
    absent, different = [], []
    for name, digest in expected.items():
        found = _present_digest(folder, name)
        if found is None:
            absent.append(name)
        elif found != digest:
            different.append(name)
    if different:
        raise ConflictError(
            f"{folder} holds other files than the package under {', '.join(map(repr, sorted(different)))}; "
            "nothing was written",
            hint="choose another output, or move these away",
            entry=min(different),
            code="conflict.exists",
        )
    return absent


def _present_digest(folder: Path, name: str) -> str | None:
    """Digest of the file, None where nothing is there; what is no plain file below plain folders has none: ``""``."""
    place = folder
    *parents, _ = Path(name).parts
    for part in parents:
        place /= part
        if not os.path.lexists(place):
            return None
        if place.is_symlink() or not place.is_dir():
            return ""
    target = folder / name
    if not os.path.lexists(target):
        return None
    if target.is_symlink() or not target.is_file():
        return ""
    with target.open("rb") as stream:
        return PREFIX + hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _host_errors(output: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a HostError."""
    try:
        yield
    except OSError as error:
        message = f"cannot extract to {output}: {error.strerror} ({error.filename})"
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "change its permissions, or choose another place"
            raise HostError(message, hint=hint, code="host.permission") from error
        raise HostError(message, code="host.io") from error


@contextmanager
def _taken_back() -> Iterator[list[Path]]:
    """Files and folders that are removed again, the latest first, where the work fails."""
    added: list[Path] = []
    try:
        yield added
    except BaseException:
        for path in reversed(added):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        raise


@contextmanager
def _new_file(host: Host, folder: Path, name: str, added: list[Path]) -> Iterator[BinaryIO]:
    target = folder / name
    for parent in reversed(Path(name).parents[:-1]):
        place = folder / parent
        if not place.is_dir():
            added.append(place)
            host.files.make_folder(place)
    with host.files.replacing(target) as stream:
        yield stream
        added.append(target)  # it has its name before the last thing that may fail
