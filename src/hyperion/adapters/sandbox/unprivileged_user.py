"""Another user for a worker that root started.

It keeps one right of root's, to read files whatever their permissions say (CAP_DAC_READ_SEARCH): so the state folder
stays root's alone, and so may Python's own. What it may read at all, Landlock says.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hyperion.domain.confinement import Protection
from hyperion.errors import ConfigError

VARIABLE = "HYPERION_WORKER_USER"
DEFAULT_USER = "nobody"
_KEEP_CAPABILITIES = 8
_CAPABILITIES_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 (linux/capability.h)."""
_READ_ANY_FILE = 1 << 2
"""CAP_DAC_READ_SEARCH."""


@dataclass(frozen=True, slots=True)
class WorkerUser:
    """Whom a worker runs as.

    Attributes:
        name: As it was given.
        uid: Its number.
        gid: Of its group.
    """

    name: str
    uid: int
    gid: int


def worker_user(environ: Mapping[str, str] = os.environ) -> WorkerUser | None:
    """Whom workers that root starts are to run as: ``$HYPERION_WORKER_USER``, else nobody; None for root itself.

    Raises:
        ConfigError: There is no such user (code ``config.worker_user``).
    """
    if os.geteuid() != 0:
        return None
    given = environ.get(VARIABLE) or DEFAULT_USER
    found: pwd.struct_passwd | None = None
    with suppress(KeyError, OverflowError):
        found = pwd.getpwuid(int(given)) if given.isascii() and given.isdigit() else pwd.getpwnam(given)
    if found is None:
        if environ.get(VARIABLE):
            raise ConfigError(
                f"{VARIABLE}: there is no user {given[:60]!r}",
                hint="make one (useradd --system), or name another; root leaves workers as they are",
                code="config.worker_user",
            )
        return None
    return None if found.pw_uid == 0 else WorkerUser(found.pw_name, found.pw_uid, found.pw_gid)


def give_folder(folder: Path, user: WorkerUser) -> None:
    """Make a folder and the files in it the user's; links are left as they are."""
    for place in (folder, *folder.iterdir()):
        with suppress(FileNotFoundError):
            os.chown(place, user.uid, user.gid, follow_symlinks=False)


def become(user: WorkerUser | None) -> Protection:
    """Leave root for good; where this process is not root's, or is to stay so, say that.

    To be called by the only thread, before calls that change the user are refused.
    """
    if os.geteuid() != 0:
        detail = f"user {os.geteuid()}, as the supervisor: only one that root started can run workers as another user"
        return Protection(name="user", in_force=True, detail=detail)
    if user is None:
        detail = f"root, since {VARIABLE} says so, or there is no user {DEFAULT_USER}"
        return Protection(name="user", in_force=False, detail=detail)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0)
    try:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        detail = f"root: this host does not let us become {user.name}: {error.strerror}"
        return Protection(name="user", in_force=False, detail=detail)
    _keep_only_reading(libc)
    detail = f"{user.name} ({user.uid}) in place of root, with the right to read any file that Landlock leaves"
    return Protection(name="user", in_force=True, detail=detail)


def _keep_only_reading(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(_READ_ANY_FILE, _READ_ANY_FILE, 0, 0, 0, 0)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
