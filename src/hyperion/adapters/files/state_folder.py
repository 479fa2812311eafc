"""The folder that holds this user's state: made private, and never another user's."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from hyperion.adapters.files.atomic_file import translated
from hyperion.errors import HostError

_PRIVATE = 0o700


def claim_state(path: Path) -> Path:
    """Make the state folder where it is missing and demand that it is this user's; returns its absolute path.

    Raises:
        HostError: It belongs to another user (code ``host.foreign_state``), is no folder
            (``host.no_folder``), or cannot be made.
    """
    path = path.absolute()
    with translated(path):
        make_private(path)
    return require_own(path)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone.

    ``Path.mkdir`` gives its mode to the last folder only: whoever made the first file of a state folder several
    levels down would leave the state folder itself open to everybody.

    Raises:
        OSError: It cannot be made.
    """
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for place in reversed(missing):
        place.mkdir(mode=_PRIVATE, exist_ok=True)


def require_own(path: Path) -> Path:
    """Demand that the state folder is this user's where it exists, without making it; returns its absolute path.

    Raises:
        HostError: It belongs to another user (code ``host.foreign_state``).
    """
    path = path.absolute()
    with translated(path):
        if not path.exists():
            return path
        owner = path.stat().st_uid
    if owner != os.geteuid():
        name = _user_name(owner)
        raise HostError(
            f"the state folder {path} belongs to the user {name}, you are {_user_name(os.geteuid())}",
            hint=f"run it as that user: sudo -u {name} HYPERION_HOME={path} hyperion …, "
            "or set HYPERION_HOME to a folder of your own",
            code="host.foreign_state",
            expected=owner,
            actual=os.geteuid(),
        )
    return path


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
