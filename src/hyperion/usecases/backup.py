"""Keep a proven copy of what a deployment serves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from hyperion.domain.backup import BACKUP_FILE, CONFIG_FILE, PACKAGE_FILE, Backup
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Deployment, Revision, find_deployment
from hyperion.domain.document import Document
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.gate import decide
from hyperion.errors import ConfigError, ConflictError, HostError, HyperionError, NotFoundError, PackageError
from hyperion.ports import Host, Reporter
from hyperion.usecases.config import load_config
from hyperion.usecases.record import record_event
from hyperion.usecases.roll_out import require_portable_path
from hyperion.verification.integrity import check_integrity

MAX_BACKUP_JSON_BYTES = 64 * 1024


class BackupSummary(Document):
    """What was backed up, and where."""

    path: str
    """The backup folder."""
    backup: Backup
    unchanged: bool
    """It held this very package, signing and config already, and they are whole."""
    kept_as: str | None
    """Where the backup went that lay there before; None where there was none."""
    size_bytes: int
    """Of the package file."""


@dataclass(frozen=True, slots=True)
class OpenedBackup:
    """A backup folder as it was found."""

    path: Path
    backup: Backup
    config: DeploymentConfig

    @property
    def package_path(self) -> Path:
        return self.path / PACKAGE_FILE


def backup_model(host: Host, name: str, output: Path, reporter: Reporter) -> BackupSummary:
    """Copy a deployment's active revision, or the last that was active, to ``output/name``, and prove the copy.

    Args:
        host: This host.
        name: The deployment; ``current_model`` also stands for the only one.
        output: Folder of backups; it is made where absent.
        reporter: Where progress goes.

    Raises:
        ConfigError: The name of ``output`` is not UTF-8.
        NotFoundError: There is no such deployment, or none of its revisions was ever active
            (code ``backup.never_active``).
        ConflictError: ``output/name`` is something else than a backup (code ``backup.foreign_folder``).
        HostError: The copy cannot be written, or is not what was to be copied (code ``backup.not_proven``).
    """
    require_portable_path(output)
    deployment = find_deployment(host.ledger.deployments(), name)
    revision = _revision_to_keep(host, deployment)
    folder = output / name
    before = _existing(folder)
    if before is not None and _holds(host, folder, before, revision, reporter):
        return _summary(folder, before, unchanged=True, kept_as=None)
    backup = Backup(
        deployment=revision.deployment,
        revision=revision.number,
        digest=revision.digest,
        model=revision.model,
        version=revision.version,
        ledger=host.ledger.head(),
        created_at=host.clock.now(),
    )
    keep_as = None if before is None else _free_name(folder, before.revision)
    _make_folder(output)
    with host.files.staging(folder, keep_as=keep_as) as staged:
        _fill(host, staged, backup, revision.config, reporter)
    _record(host, backup, folder)
    return _summary(folder, backup, unchanged=False, kept_as=keep_as)


def open_backup(path: Path) -> OpenedBackup:
    """Read the documents of a backup folder; its package is not looked at.

    Raises:
        NotFoundError: It is no folder, or holds no backup.json (code ``backup.not_found``) or deployment.json.
        ConfigError: backup.json or deployment.json is no document of ours.
        HostError: They cannot be read.
    """
    backup = _read_backup(path)
    return OpenedBackup(path=path, backup=backup, config=load_config(DeploymentConfig, path / CONFIG_FILE))


def _read_backup(path: Path) -> Backup:
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


def _revision_to_keep(host: Host, deployment: Deployment) -> Revision:
    number = deployment.active_revision or deployment.last_active_revision
    if number is None:
        raise NotFoundError(
            f"deployment {deployment.name!r} has nothing to back up: none of its revisions was ever active",
            hint="'hyperion history' says why its rollouts were aborted",
            code="backup.never_active",
        )
    return host.ledger.revision(deployment.name, number)


def _existing(folder: Path) -> Backup | None:
    """The backup at ``folder``; None where nothing is there."""
    if not folder.exists() and not folder.is_symlink():
        return None
    try:
        return _read_backup(folder)
    except (NotFoundError, ConfigError) as error:
        raise ConflictError(
            f"{folder} exists and is no backup of Hyperion: {error.message}",
            hint="choose another --output, or move it aside; it was not touched",
            code="backup.foreign_folder",
        ) from error


def _holds(host: Host, folder: Path, found: Backup, revision: Revision, reporter: Reporter) -> bool:
    """Whether the backup in ``folder`` is of this revision's package and config, as signed, and still whole."""
    package_path = folder / PACKAGE_FILE
    if not found.is_of(revision):
        return False
    try:
        config = load_config(DeploymentConfig, folder / CONFIG_FILE)
        has_signing = _has_newest_signing(host, package_path, revision.digest)
    except HyperionError:
        return False
    return config == revision.config and has_signing and _fault(host, package_path, revision.digest, reporter) is None


def _has_newest_signing(host: Host, package_path: Path, digest: str) -> bool:
    """Whether the copy is signed as the store's package is: no digest covers a signing, and it may have come later."""
    with host.packages.open(package_path) as kept, host.store.open(digest) as stored:
        return stored.signing in (None, kept.signing)


def _fill(host: Host, folder: Path, backup: Backup, config: DeploymentConfig, reporter: Reporter) -> None:
    package_path = folder / PACKAGE_FILE
    try:
        with reporter.stage(f"Copy {backup.model} {backup.version}"):
            host.store.export(backup.digest, package_path)
    except PackageError as error:
        raise _not_proven(backup, error.message) from error
    fault = _fault(host, package_path, backup.digest, reporter)
    if fault is not None:
        raise _not_proven(backup, fault)
    # Backups are read by people and by 'deploy model --config': aliases as written, keys without a value left out.
    for name, document in ((CONFIG_FILE, config), (BACKUP_FILE, backup)):
        text = document.model_dump_json(indent=2, by_alias=True, exclude_none=True)
        with host.files.replacing(folder / name) as stream:
            stream.write(text.encode() + b"\n")


def _not_proven(backup: Backup, fault: str) -> HostError:
    return HostError(
        f"{backup.model} {backup.version} cannot be copied from the store as it was admitted: {fault}",
        hint="check the disk; move the damaged file under blobs/sha256 aside, deploy the package again, back it up",
        code="backup.not_proven",
    )


def _fault(host: Host, package_path: Path, digest: str, reporter: Reporter) -> str | None:
    """What is wrong with a package file that should have this digest; None where every byte is right."""
    try:
        decision = decide(check_integrity(host, package_path, reporter))
        if not decision.allowed:
            return decision.denied_by[0].reason or decision.denied_by[0].summary
        with host.packages.open(package_path) as package:
            return None if package.digest == digest else f"expected {digest}, found {package.digest}"
    except (NotFoundError, PackageError) as error:
        return error.message


def _free_name(folder: Path, revision: int) -> Path:
    """``NAME@rREVISION``; numbered where that is taken, which happens after the state of the host was lost."""
    first = f"{folder.name}@r{revision}"
    names = itertools.chain([first], (f"{first}.{number}" for number in itertools.count(2)))
    return next(path for path in map(folder.with_name, names) if not path.exists() and not path.is_symlink())


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConflictError(f"{output} is a file; expected a folder", hint="choose another --output") from error
    except OSError as error:
        raise HostError(
            f"the folder {output} cannot be made: {error.strerror}", hint="choose another --output"
        ) from error


def _record(host: Host, backup: Backup, folder: Path) -> None:
    draft = EventDraft(
        kind=EventKind.BACKUP_CREATED,
        deployment=backup.deployment,
        revision=backup.revision,
        actor=host.facts.user(),
        data={"digest": backup.digest, "path": str(folder.absolute())},
    )
    record_event(host, draft)


def _summary(folder: Path, backup: Backup, *, unchanged: bool, kept_as: Path | None) -> BackupSummary:
    return BackupSummary(
        path=str(folder),
        backup=backup,
        unchanged=unchanged,
        kept_as=None if kept_as is None else str(kept_as),
        size_bytes=(folder / PACKAGE_FILE).stat().st_size,
    )
