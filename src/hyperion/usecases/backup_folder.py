"""The folder of a backup, and the backups beside it: what is read of them, shared among them, and removed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hyperion.domain.backup import (
    BACKUP_FILE,
    CONFIG_FILE,
    PACKAGE_FILE,
    Backup,
    earlier_name,
    is_earlier_name,
    surplus,
)
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.manifest import MANIFEST
from hyperion.errors import ConfigError, ConflictError, HostError, HyperionError, NotFoundError
from hyperion.ports import Host, Reporter
from hyperion.usecases.config import load_config

MAX_BACKUP_JSON_BYTES = 256 * 1024
_OURS = frozenset({BACKUP_FILE, CONFIG_FILE, PACKAGE_FILE})


@dataclass(frozen=True, slots=True)
class OpenedBackup:
    """A backup folder as it was found."""

    path: Path
    backup: Backup
    config: DeploymentConfig

    @property
    def package_path(self) -> Path:
        """A package file or directory."""
        return self.path / PACKAGE_FILE


def open_backup(path: Path) -> OpenedBackup:
    """Read the documents of a backup folder; its package is not looked at.

    Raises:
        NotFoundError: It is no folder, or holds no backup.json (code ``backup.not_found``) or deployment.json.
        ConfigError: backup.json or deployment.json is no document of ours.
        HostError: They cannot be read.
    """
    backup = read_backup(path)
    return OpenedBackup(path=path, backup=backup, config=load_config(DeploymentConfig, path / CONFIG_FILE))


def read_backup(path: Path) -> Backup:
    """What backup.json in a folder says; raises as open_backup."""
    from hyperion.format.strict_json import parse_document

    source = path / BACKUP_FILE
    try:
        with source.open("rb") as stream:
            raw = stream.read(MAX_BACKUP_JSON_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"{path} is no backup: it has no {BACKUP_FILE}",
            hint="name the folder that 'hyperion backup model' wrote, such as backup/current_model",
            code="backup.not_found",
        ) from error
    except (OSError, ValueError) as error:
        raise HostError(f"cannot read {source}: {error}", code="backup.unreadable") from error
    return parse_document(Backup, raw, str(source), limit=MAX_BACKUP_JSON_BYTES)


def existing_backup(folder: Path) -> Backup | None:
    """The backup at ``folder``; None where nothing is there.

    Raises:
        ConflictError: It is something else (code ``backup.foreign_folder``).
    """
    if not folder.exists() and not folder.is_symlink():
        return None
    try:
        return read_backup(folder)
    except (NotFoundError, ConfigError) as error:
        raise ConflictError(
            f"{folder} exists and is no backup of Hyperion: {error.message}",
            hint="choose another --output, or move it aside; it was not touched",
            code="backup.foreign_folder",
        ) from error


def free_name(folder: Path, revision: int) -> Path:
    """``NAME@rREVISION``; numbered where that is taken, which happens after the state of the host was lost."""
    first = earlier_name(folder.name, revision)
    names = itertools.chain([first], (f"{first}.{number}" for number in itertools.count(2)))
    return next(path for path in map(folder.with_name, names) if not path.exists() and not path.is_symlink())


def make_output(output: Path) -> None:
    """Make the folder that backups are kept in, where it is absent.

    Raises:
        ConflictError: A file is in its place.
        HostError: It cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConflictError(f"{output} is a file; expected a folder", hint="choose another --output") from error
    except OSError as error:
        raise HostError(
            f"the folder {output} cannot be made: {error.strerror}", hint="choose another --output"
        ) from error


def shared_files(host: Host, output: Path) -> dict[str, Path]:
    """Files of the backups in ``output`` by the digest of what they should hold; none of packages kept as one file."""
    found: dict[str, Path] = {}
    for _, folder in _backups(output):
        tree = folder / PACKAGE_FILE
        if not tree.is_dir():
            continue
        try:
            with host.packages.open(tree) as package:
                places = {entry.digest: package.locate(name).path for name, entry in package.manifest.entries.items()}
                found |= places | {package.digest: tree / MANIFEST}
        except HyperionError:  # damaged, which its next use will tell
            continue
    return found


def package_bytes(folder: Path) -> int:
    """Size of the package in a backup folder; what it shares with others counts too."""
    package = folder / PACKAGE_FILE
    files = (path for path in package.rglob("*") if path.is_file()) if package.is_dir() else (package,)
    return sum(path.stat().st_size for path in files)


def keep_newest(host: Host, folder: Path, deployment: str, keep: int, reporter: Reporter) -> tuple[Path, ...]:
    """Remove the oldest backups beside ``folder`` so that ``keep`` stay with it; returns those removed.

    Only what ``backup model`` wrote is removed, whole: a folder that is damaged or holds anything else stays, with a
    warning.
    """
    earlier = {
        path.name: backup
        for backup, path in _backups(folder.parent)
        if backup.deployment == deployment and is_earlier_name(path.name, folder.name)
    }
    removed: list[Path] = []
    for name in surplus(earlier.items(), keep):
        path = folder.with_name(name)
        foreign = _foreign(host, path)
        if foreign is not None:
            reporter.warn(f"{path} is beyond --keep {keep}, but was not removed: {foreign}")
            continue
        host.files.discard(path, swept_by=folder)
        removed.append(path)
    return tuple(removed)


def _backups(output: Path) -> Iterator[tuple[Backup, Path]]:
    """Every folder in ``output`` that is a backup."""
    try:
        folders = sorted(path for path in output.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise HostError(f"cannot read {output}: {error.strerror}", code="backup.unreadable") from error
    for path in folders:
        if path.is_symlink() or not path.is_dir():
            continue
        try:
            yield read_backup(path), path
        except HyperionError:
            continue


def _foreign(host: Host, folder: Path) -> str | None:
    """Why a backup folder must not be removed: what is in it that is not ours; None where all is."""
    strange = sorted(path.name for path in folder.iterdir() if path.name not in _OURS or path.is_symlink())
    if strange:
        return f"it holds {strange[0]!r}, which is none of its files"
    try:
        host.packages.open(folder / PACKAGE_FILE).close()  # a directory with a file that is not listed does not open
    except HyperionError as error:
        return error.message
    return None
