"""systemd's units: what they say, and that values come through as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from hyperion.domain.service_unit import MARK, SERVICE_FILE, SOCKET_FILE, Scope, ServiceRequest, service_units
from hyperion.errors import ConfigError
from hyperion.usecases.service import parse_listen

REQUEST = ServiceRequest(
    scope=Scope.SYSTEM,
    command=("/opt/hyperion/bin/hyperion", "serve", "--foreground"),
    state_dir=PurePosixPath("/var/lib/hyperion"),
    account="hyperion",
)


def lines_of(request: ServiceRequest, name: str = SERVICE_FILE) -> list[str]:
    return service_units(request)[name].splitlines()


def test_the_system_service_notifies_outlives_its_supervisor_and_is_confined() -> None:
    lines = lines_of(REQUEST)
    assert {
        "Type=notify", "User=hyperion", "KillMode=process", "Restart=always", "Delegate=memory", "NoNewPrivileges=yes",
        "ProtectSystem=strict", "StateDirectory=hyperion", "ExecReload=/bin/kill -HUP $MAINPID",
        "ExecStart=/opt/hyperion/bin/hyperion serve --foreground", "Environment=HYPERION_HOME=/var/lib/hyperion",
        "WantedBy=multi-user.target",
    } <= set(lines)  # fmt: skip
    assert lines[0] == MARK


def test_the_stop_timeout_is_beyond_the_longest_drain() -> None:
    assert "TimeoutStopSec=330" in lines_of(replace(REQUEST, drain_timeout_s=300.0))


def test_a_users_service_names_no_account_and_asks_for_no_mounts() -> None:
    lines = lines_of(replace(REQUEST, scope=Scope.USER, state_dir=PurePosixPath("/home/me/.local/share/hyperion")))
    assert "WantedBy=default.target" in lines
    assert not [line for line in lines if line.startswith(("User=", "Protect", "ReadWritePaths="))]


def test_a_state_folder_elsewhere_is_made_writable() -> None:
    assert "ReadWritePaths=/srv/models" in lines_of(replace(REQUEST, state_dir=PurePosixPath("/srv/models")))


def test_addresses_make_a_socket_unit_that_the_service_needs() -> None:
    request = replace(REQUEST, listen=("127.0.0.1:8080", "[::1]:8081"))
    assert "Requires=hyperion.socket" in lines_of(request)
    assert {"ListenStream=127.0.0.1:8080", "ListenStream=[::1]:8081", "Service=hyperion.service"} <= set(
        lines_of(request, SOCKET_FILE)
    )
    assert list(service_units(REQUEST)) == [SERVICE_FILE]


def test_a_unix_socket_is_the_accounts_alone_until_the_supervisor_opens_it() -> None:
    request = replace(REQUEST, listen=("/run/shop 100%.sock", "127.0.0.1:8080"))
    socket = lines_of(request, SOCKET_FILE)
    assert {
        "ListenStream=/run/shop 100%%.sock", "ListenStream=127.0.0.1:8080",
        "SocketUser=hyperion", "SocketMode=0600", "RemoveOnStop=yes",
    } <= set(socket)  # fmt: skip
    assert 'ReadWritePaths="/run/shop 100%%.sock"' in lines_of(request)
    users = replace(request, scope=Scope.USER)
    assert "SocketUser=hyperion" not in lines_of(users, SOCKET_FILE)
    assert not [line for line in lines_of(replace(REQUEST, listen=("127.0.0.1:1",)), SOCKET_FILE) if "Mode" in line]


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:80", "/run/shop.sock", "/" + 106 * "x"])
def test_an_address_or_a_path_is_taken_as_it_is(text: str) -> None:
    assert parse_listen(text) == text


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/srv/a b", '"HYPERION_HOME=/srv/a b"'),
        ("/srv/100%", "HYPERION_HOME=/srv/100%%"),
        ('/srv/"x"', '"HYPERION_HOME=/srv/\\"x\\""'),
        ("/srv/$HOME", '"HYPERION_HOME=/srv/$HOME"'),
        ("/srv/a\nUser=root", '"HYPERION_HOME=/srv/a\\nUser=root"'),
    ],
)
def test_odd_characters_are_quoted(path: str, written: str) -> None:
    assert f"Environment={written}" in lines_of(replace(REQUEST, state_dir=PurePosixPath(path)))


def test_a_dollar_in_the_command_begins_no_variable() -> None:
    assert 'ExecStart="/opt/$$x/hyperion" serve' in lines_of(replace(REQUEST, command=("/opt/$x/hyperion", "serve")))


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        "127.0.0.1",
        ":8080",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "h:1\nUser=root",
        "/run/",
        "/run/a\nUser=root",
        "/" + 107 * "x",
        "run/shop.sock",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_listen(text)
    assert caught.value.code == "service.listen"
