"""Checking the files of a host image before the engine, which trusts them blindly, sees any of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import ValidationError

from hyperion.adapters.files.file_digest import file_digest, open_plain
from hyperion.domain.digest import digest_of
from hyperion.domain.image import HostImage
from hyperion.errors import HostError
from hyperion.format.file_state import FileState, state_of
from hyperion.ports import Clock, ProofRecord

IMAGE_FILE = "image.json"
_MAX_RECORD_BYTES = 64 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_record(folder: Path, image: str) -> HostImage | None:
    """What image.json says; None where its digest is not ``image``, or it cannot be read."""
    try:
        with open_plain(folder / IMAGE_FILE) as stream:
            raw = stream.read(_MAX_RECORD_BYTES)
        return HostImage.model_validate_json(raw) if digest_of(raw) == image else None
    except (OSError, ValidationError):
        return None


def check_image(
    folder: Path, image: str, package: str, proofs: ProofRecord | None, clock: Clock, *, read: bool = True
) -> str | None:
    """Why an image must not be used; None where every file holds what the ledger's digest covers.

    Args:
        folder: Of the image.
        image: Its digest, as the ledger has it.
        package: Digest of the package that it is to stand for.
        proofs: What was digested before and is not read while it is unchanged; None believes nothing.
        clock: Dates what is digested now.
        read: Whether to read what ``proofs`` does not know; else only its size is looked at.
    """
    try:
        if not is_private(folder):
            return "its folder is missing, a link, or open to others"
        record = read_record(folder, image)
        if record is None:
            return "image.json is missing, damaged, or not the one that the ledger names"
        if record.package != package:
            return "it is of another package"
        if sorted(path.name for path in folder.iterdir()) != sorted((IMAGE_FILE, *record.files)):
            return "it holds other files than image.json names"
        return _files_fault(folder, record, proofs, clock, read=read)
    except (OSError, HostError) as error:
        return f"it cannot be read: {error}"


def _files_fault(
    folder: Path, record: HostImage, proofs: ProofRecord | None, clock: Clock, *, read: bool
) -> str | None:
    """Which file is not as image.json has it; None where all are."""
    states: dict[str, tuple[FileState, str]] = {}
    for name, file in record.files.items():
        state = _state(folder / name)
        if state is None or state.size_bytes != file.size_bytes:
            return f"{name} has another length than image.json says"
        states[name] = state, file.digest
    if not read:
        return None
    proven = {} if proofs is None else proofs.recall(states.values())
    for name in (name for name, state in states.items() if state not in proven):
        began_at = clock.now()
        state, found = file_digest(folder / name)
        if found != record.files[name].digest:
            return f"{name} is damaged: its digest is not the one in image.json"
        if proofs is not None:
            proofs.remember([(state, found)], began_at)
    return None


def _state(path: Path) -> FileState | None:
    with open_plain(path) as stream:
        return state_of(stream) if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else None


def is_private(folder: Path) -> bool:
    """Whether a folder is there, no link, this user's, and closed to everybody else."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS


def tree_bytes(folder: Path) -> int:
    """Bytes on disk of the files in a folder."""
    try:
        return sum(path.lstat().st_blocks * 512 for path in folder.iterdir())
    except OSError:
        return 0
