"""Keep a proven copy of what a deployment serves."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.backup import BACKUP_FILE, CONFIG_FILE, PACKAGE_FILE, Backup
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Deployment, Revision, find_deployment
from hyperion.domain.document import Document, JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.finding import Outcome
from hyperion.errors import HyperionError, NotFoundError, PackageError
from hyperion.ports import Host, Reporter
from hyperion.usecases.backup_folder import (
    existing_backup,
    free_name,
    keep_newest,
    make_output,
    package_bytes,
    shared_files,
)
from hyperion.usecases.backup_proof import has_newest_signing, not_proven, package_fault, prove_restore
from hyperion.usecases.config import load_config
from hyperion.usecases.record import record_event
from hyperion.usecases.roll_out import require_portable_path
from hyperion.verification.ledger import check_head


class BackupSummary(Document):
    """What was backed up, and where."""

    path: str
    """The backup folder."""
    backup: Backup
    unchanged: bool
    """It held this very package, signing and config already, proven, and they are whole."""
    kept_as: str | None
    """Where the backup went that lay there before; None where there was none."""
    size_bytes: int
    """Of the package."""
    shared_bytes: int
    """Of those, what is hard links to files of earlier backups; 0 where nothing was written."""
    removed: tuple[str, ...]
    """Earlier backups that went, by ``keep``."""


def backup_model(
    host: Host, name: str, output: Path, reporter: Reporter, *, full: bool = False, keep: int | None = None
) -> BackupSummary:
    """Copy a deployment's active revision, or the last that was active, to ``output/name``, and prove the copy.

    What other backups in ``output`` hold already, by digest, is shared with them: each stays whole when the others go.
    The end is a restore into a scratch folder, and the golden requests there.

    Args:
        host: This host.
        name: The deployment; ``current_model`` also stands for the only one.
        output: Folder of backups; it is made where absent.
        reporter: Where progress goes.
        full: Whether to share nothing: the package as one file of its own.
        keep: How many backups of this name stay, at least 1; None for all.

    Raises:
        ConfigError: The name of ``output`` is not UTF-8.
        NotFoundError: There is no such deployment, or none of its revisions was ever active
            (code ``backup.never_active``).
        ConflictError: ``output/name`` is something else than a backup (code ``backup.foreign_folder``).
        HostError: The copy cannot be written, is not what was to be copied, or does not run
            (code ``backup.not_proven``).
    """
    require_portable_path(output)
    deployment = find_deployment(host.ledger.deployments(), name)
    revision = _revision_to_keep(host, deployment)
    folder = output / name
    before = existing_backup(folder)
    if before is not None:
        _warn_of_rewriting(host, before, folder, reporter)
    unchanged = before is not None and _holds(host, folder, before, revision, reporter, full=full)
    if before is not None and unchanged:
        backup, kept_as, shared = before, None, 0
    else:
        kept_as = None if before is None else free_name(folder, before.revision)
        backup, shared = _write(host, folder, kept_as, revision, reporter, full=full)
    removed = () if keep is None else keep_newest(host, folder, backup.deployment, keep, reporter)
    for path in removed:
        _record(host, EventKind.BACKUP_REMOVED, backup, path)
    return BackupSummary(
        path=str(folder),
        backup=backup,
        unchanged=unchanged,
        kept_as=None if kept_as is None or kept_as in removed else str(kept_as),
        size_bytes=package_bytes(folder),
        shared_bytes=shared,
        removed=tuple(map(str, removed)),
    )


def _warn_of_rewriting(host: Host, before: Backup, folder: Path, reporter: Reporter) -> None:
    """Say where the ledger lacks the end that the earlier backup saw; backing up goes on, for it may be a new host."""
    finding = check_head(host.ledger, before.ledger, str(folder))
    if finding.outcome is Outcome.FAILED:
        reporter.warn(f"{finding.summary}: {finding.reason}")


def _revision_to_keep(host: Host, deployment: Deployment) -> Revision:
    number = deployment.active_revision or deployment.last_active_revision
    if number is None:
        raise NotFoundError(
            f"deployment {deployment.name!r} has nothing to back up: none of its revisions was ever active",
            hint="'hyperion history' says why its rollouts were aborted",
            code="backup.never_active",
        )
    return host.ledger.revision(deployment.name, number)


def _holds(host: Host, folder: Path, found: Backup, revision: Revision, reporter: Reporter, *, full: bool) -> bool:
    """Whether the backup in ``folder`` is of this revision's package and config, as signed, proven, and still whole."""
    package = folder / PACKAGE_FILE
    if not found.is_of(revision) or found.proof is None or (full and not package.is_file()):
        return False
    try:
        config = load_config(DeploymentConfig, folder / CONFIG_FILE)
    except HyperionError:
        return False
    same = config == revision.config and has_newest_signing(host, folder, revision.digest)
    return same and package_fault(host, package, revision.digest, reporter) is None


def _write(
    host: Host, folder: Path, keep_as: Path | None, revision: Revision, reporter: Reporter, *, full: bool
) -> tuple[Backup, int]:
    """Write and prove a backup, whole or not at all; returns it and the bytes that it shares."""
    head, created_at = host.ledger.head(), host.clock.now()
    make_output(folder.parent)
    with host.files.staging(folder, keep_as=keep_as) as staged:
        shared = _copy_package(host, staged, folder, revision, reporter, full=full)
        _save(host, staged / CONFIG_FILE, revision.config)
        backup = Backup(
            deployment=revision.deployment,
            revision=revision.number,
            digest=revision.digest,
            model=revision.model,
            version=revision.version,
            ledger=head,
            created_at=created_at,
            proof=prove_restore(host, staged, folder, revision, reporter),
        )
        _save(host, staged / BACKUP_FILE, backup)
    _record(host, EventKind.BACKUP_CREATED, backup, folder)
    return backup, shared


def _copy_package(host: Host, staged: Path, folder: Path, revision: Revision, reporter: Reporter, *, full: bool) -> int:
    """The package from the store, every byte verified; returns the bytes that it shares with other backups."""
    package, digest, shared = staged / PACKAGE_FILE, revision.digest, 0
    try:
        with reporter.stage(f"Copy {revision.model} {revision.version}"):
            if full:
                host.store.export(digest, package)
            else:
                package.mkdir()
                shared = host.store.export_tree(digest, package, shared_files(host, folder.parent))
        fault = package_fault(host, package, digest, reporter)
        if fault is not None and shared:
            reporter.warn(f"an earlier backup is damaged, so nothing is shared with it: {fault}")
            host.files.discard(package, swept_by=package)
            package.mkdir()
            shared = host.store.export_tree(digest, package, {})
            fault = package_fault(host, package, digest, reporter)
    except PackageError as error:
        raise not_proven(revision, error.message) from error
    if fault is not None:
        raise not_proven(revision, fault)
    return shared


def _save(host: Host, path: Path, document: Document) -> None:
    """Written for people and for 'deploy model --config': aliases as written, keys without a value left out."""
    text = document.model_dump_json(indent=2, by_alias=True, exclude_none=True)
    with host.files.replacing(path) as stream:
        stream.write(text.encode() + b"\n")


def _record(host: Host, kind: EventKind, backup: Backup, folder: Path) -> None:
    data: dict[str, JsonValue] = {"digest": backup.digest, "path": str(folder.absolute())}
    if kind is EventKind.BACKUP_CREATED and backup.proof is not None:
        data["golden"] = backup.proof.golden
    draft = EventDraft(
        kind=kind,
        deployment=backup.deployment,
        revision=backup.revision,
        actor=host.facts.user(),
        data=data,
    )
    record_event(host, draft)
