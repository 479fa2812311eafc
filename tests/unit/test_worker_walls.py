"""What bounds a worker beyond its sandbox: its user, its address space, and words for its end by the kernel."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hyperion.adapters.sandbox.address_space import wall_in
from hyperion.adapters.sandbox.unprivileged_user import VARIABLE, WorkerUser, give_folder, worker_user
from hyperion.errors import ConfigError
from hyperion.serving.worker_link import exit_in_words

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
WALLED = """
from hyperion.adapters.sandbox.address_space import wall_in
print(wall_in(512))
try:
    bytearray(2 * 1024**3)
except MemoryError:
    print("refused")
print(len(bytearray(1024**2)))
"""
BECOMING = """
import os, sys
from hyperion.adapters.sandbox.unprivileged_user import become, worker_user
print(become(worker_user({})).in_force, os.getuid(), os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("stays so")
try:
    open(sys.argv[1], "w")
except PermissionError:
    print("writes nothing of root's")
print(open(sys.argv[1]).read())
"""


def run(program: str, *arguments: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return found.stdout.splitlines()


def test_an_allocation_beyond_the_wall_fails_and_the_process_goes_on() -> None:
    said, refused, went_on = run(WALLED)
    assert "at most 512 MiB mapped (RLIMIT_AS)" in said
    assert (refused, went_on) == ("refused", str(1024**2))


@pytest.mark.parametrize(
    ("name", "text", "why"), [("maps", "7f00 /dev/nvidia0\n", "GPU"), ("status", "VmRSS: 1 kB\n", "VmPeak")]
)
def test_where_the_wall_would_be_wrong_there_is_none_and_that_is_said(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / "maps").write_text("")
    (tmp_path / "status").write_text("VmPeak: 1 kB\n")
    (tmp_path / name).write_text(text)
    found = wall_in(None, tmp_path)
    assert not found.in_force
    assert why in found.detail


@ROOT_ONLY
def test_a_process_of_roots_becomes_another_users_and_reads_on(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("read")
    secret.chmod(0o600)
    nobody = pwd.getpwnam("nobody").pw_uid
    assert run(BECOMING, str(secret)) == [f"True {nobody} []", "stays so", "writes nothing of root's", "read"]


@ROOT_ONLY
@pytest.mark.parametrize("given", ["no-such-user", "99999999999999999999"])
def test_a_user_that_does_not_exist_is_refused_by_name(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        worker_user({VARIABLE: given})
    assert caught.value.code == "config.worker_user"
    assert given in caught.value.message


@ROOT_ONLY
def test_root_can_be_asked_for() -> None:
    assert worker_user({VARIABLE: "root"}) is None
    assert worker_user({VARIABLE: "0"}) is None


@ROOT_ONLY
def test_a_folder_is_given_and_what_links_point_to_is_not(tmp_path: Path) -> None:
    # given
    folder, other = tmp_path / "metrics", tmp_path / "other"
    folder.mkdir()
    other.write_text("")
    (folder / "r1-w0.slot").write_text("")
    (folder / "link").symlink_to(other)
    # when
    give_folder(folder, WorkerUser("nobody", 65534, 65534))
    # then
    assert [path.stat().st_uid for path in (folder, folder / "r1-w0.slot", other)] == [65534, 65534, 0]


@pytest.mark.parametrize(
    ("status", "memory_kill", "words"),
    [
        (-signal.SIGKILL, "oom_kill 1", "ran out of memory: oom_kill 1"),
        (None, "oom_kill 1", "ran out of memory: oom_kill 1"),
        (-signal.SIGKILL, None, "was killed by SIGKILL"),
        (3, "oom_kill 1", "ended with exit status 3"),
        (-signal.SIGSEGV, "oom_kill 1", "was killed by SIGSEGV"),
    ],
)
def test_an_end_by_want_of_memory_is_named(status: int | None, memory_kill: str | None, words: str) -> None:
    assert exit_in_words(status, memory_kill) == words
