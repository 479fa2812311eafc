"""A deployment's unix socket: its mode, whose it is, and what becomes of its path."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from hyperion.adapters.host.host_facts import LocalHostFacts
from hyperion.domain.config import Serve
from hyperion.errors import HostError
from hyperion.serving.listener import open_listener, url_of
from hyperion.serving.unix_listener import open_unix_listener


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Short enough for a socket's address, wherever tmp_path is."""
    monkeypatch.chdir(tmp_path)
    return Path("d.sock")


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_it_has_its_mode_and_answers(path: Path, mode: int) -> None:
    with open_unix_listener(path, mode), socket.socket(socket.AF_UNIX) as client:
        assert stat.S_IMODE(path.lstat().st_mode) == mode
        client.connect(str(path))


def test_one_that_nobody_listens_on_is_replaced(path: Path) -> None:
    stale(path)

    with open_unix_listener(path, 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_one_that_somebody_listens_on_is_left(path: Path) -> None:
    with open_unix_listener(path, 0o600) as first:
        with pytest.raises(HostError) as refused:
            open_unix_listener(path, 0o600)

        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            first.setblocking(True)
            first.accept()[0].close()
    assert refused.value.code == "host.socket_in_use"


@pytest.mark.parametrize("target", ["a file", "a folder", "a link to a socket"])
def test_what_is_no_socket_is_left(path: Path, target: str) -> None:
    if target == "a file":
        path.write_text("precious")
    elif target == "a folder":
        path.mkdir()
    else:
        stale(Path("other.sock"))
        path.symlink_to("other.sock")

    with pytest.raises(HostError) as refused:
        open_unix_listener(path, 0o600)

    assert refused.value.code == "host.socket_path"
    assert path.exists()


def test_a_folder_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(HostError) as refused:
        open_unix_listener(Path("no/such") / path, 0o600)

    assert refused.value.code == "host.socket_path"


def test_the_path_goes_with_the_socket(path: Path) -> None:
    open_unix_listener(path, 0o600).close()

    assert not path.exists()


def test_a_path_that_is_another_sockets_by_now_stays(path: Path) -> None:
    first = open_unix_listener(path, 0o600)
    path.unlink()
    with open_unix_listener(path, 0o600):
        first.close()

        assert path.exists()


def test_a_copy_keeps_the_path(path: Path) -> None:
    with open_unix_listener(path, 0o600) as listener:
        listener.dup().close()

        assert path.exists()


def test_the_url_names_the_path(tmp_path: Path) -> None:
    where = tmp_path / "d.sock"
    with open_listener(Serve(socket=str(where), socket_mode="0660")) as listener:
        assert url_of(listener) == f"unix:{where}"
        assert stat.S_IMODE(where.lstat().st_mode) == 0o660


def test_one_that_the_service_manager_opened_is_taken(path: Path) -> None:
    with open_unix_listener(path, 0o600) as handed:
        taken = open_listener(Serve.model_construct(socket=str(path), socket_mode="0600"), [handed])
        taken.close()

        assert path.exists()


def test_the_checklist_asks_the_same(path: Path) -> None:
    facts = LocalHostFacts(Path.cwd())

    assert facts.socket_fault(path) is None
    assert "no folder" in str(facts.socket_fault(Path("no/such") / path))
    with open_unix_listener(path, 0o600):
        assert facts.socket_fault(path) == "another process listens on it"
    stale(path)
    assert facts.socket_fault(path) is None
    path.unlink()
    path.write_text("precious")
    assert facts.socket_fault(path) == "it is there already, and no socket"
