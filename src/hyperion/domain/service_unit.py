"""Units of systemd that run the supervisor (man 5 systemd.service, systemd.socket, systemd.exec, systemd.kill)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

SERVICE_FILE = "hyperion.service"
SOCKET_FILE = "hyperion.socket"
MARK = "# Written by 'hyperion service install'; local changes belong into a drop-in (systemctl edit hyperion)."
"""First line of our units: a file without it is somebody's own, and is not replaced."""
BEYOND_DRAIN_S = 30
"""From the longest drain to the moment when systemd kills."""


class Scope(StrEnum):
    """Whose systemd it is."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """What the units are to do.

    Attributes:
        scope: Whose systemd.
        command: What runs, absolute, with its arguments.
        state_dir: $HYPERION_HOME.
        account: Whose name the service bears; only for the system's scope.
        listen: Addresses that systemd opens and keeps open, ``127.0.0.1:8080`` or the path of a unix socket; empty for
            no socket unit.
        drain_timeout_s: The longest of the deployments.
    """

    scope: Scope
    command: tuple[str, ...]
    state_dir: PurePosixPath
    account: str
    listen: tuple[str, ...] = ()
    drain_timeout_s: float = 45.0

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the unix sockets."""
        return tuple(address for address in self.listen if address.startswith("/"))


def service_units(request: ServiceRequest) -> dict[str, str]:
    """The files, by name."""
    units = {SERVICE_FILE: _service(request)}
    if request.listen:
        units[SOCKET_FILE] = _socket(request)
    return units


def _service(request: ServiceRequest) -> str:
    is_system = request.scope is Scope.SYSTEM
    unit = ["Description=Hyperion model serving"]
    if is_system:
        unit += ["After=network-online.target", "Wants=network-online.target"]
    if request.listen:
        unit += [f"Requires={SOCKET_FILE}", f"After={SOCKET_FILE}"]
    service = [
        *([f"User={_quoted(request.account)}"] if is_system else []),
        f"Environment={_quoted(f'HYPERION_HOME={request.state_dir}')}",
        f"ExecStart={' '.join(map(_argument, request.command))}",
        "# A rolling restart of the workers.",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=30",
        "Restart=always",
        "RestartSec=1",
        "# Usage and bugs in the configuration do not go away by starting again.",
        "RestartPreventExitStatus=2",
        "# SIGTERM goes to the supervisor, which drains its workers. One that is killed leaves them serving, and the",
        "# next one adopts them.",
        "KillMode=process",
        f"TimeoutStopSec={round(request.drain_timeout_s) + BEYOND_DRAIN_S}",
        "# A worker that is killed for its memory is started again; the others go on.",
        "OOMPolicy=continue",
        "# So that memory.limit_mb of a deployment is a control group of each of its workers.",
        "Delegate=memory",
        "",
        "LimitNOFILE=65536",
        "LimitCORE=0",
        "TasksMax=4096",
        "UMask=0077",
        "",
        *_hardening(request),
    ]
    install = [f"WantedBy={'multi-user' if is_system else 'default'}.target"]
    if request.listen:
        install.append(f"Also={SOCKET_FILE}")
    return _file({"Unit": unit, "Service": service, "Install": install})


def _hardening(request: ServiceRequest) -> list[str]:
    """What holds for the supervisor; its workers confine themselves further (Landlock, seccomp)."""
    settings = [
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "# AF_NETLINK: the C library asks it which addresses there are.",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestrictNamespaces=yes",
    ]
    if request.scope is Scope.USER:
        return settings
    return [
        *settings,
        "CapabilityBoundingSet=",
        "# The supervisor reads the package that 'deploy model --input' names: home folders and /tmp stay readable.",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        *_state_folder(request.state_dir),
        *(f"ReadWritePaths={_quoted(path)}" for path in request.paths),
        "PrivateDevices=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "RemoveIPC=yes",
    ]


def _state_folder(state_dir: PurePosixPath) -> list[str]:
    """Writable; where it lies where services' states lie, systemd makes it."""
    usual = PurePosixPath("/var/lib")
    if usual in state_dir.parents:
        return [f"StateDirectory={_quoted(str(state_dir.relative_to(usual)))}", "StateDirectoryMode=0700"]
    return [f"ReadWritePaths={_quoted(str(state_dir))}"]


def _socket(request: ServiceRequest) -> str:
    unit = ["Description=Listening sockets of Hyperion"]
    found = [
        *(f"ListenStream={_without_specifiers(address)}" for address in request.listen),
        *(_unix_sockets(request) if request.paths else []),
        "# systemd holds them open: while no worker lives, clients wait and are not refused.",
        "Backlog=2048",
        "NoDelay=yes",
        f"Service={SERVICE_FILE}",
    ]
    return _file({"Unit": unit, "Socket": found, "Install": ["WantedBy=sockets.target"]})


def _unix_sockets(request: ServiceRequest) -> list[str]:
    return [
        "# Nobody else's until a revision is promoted: the supervisor then gives it the mode of serve.socket_mode.",
        *([f"SocketUser={_quoted(request.account)}"] if request.scope is Scope.SYSTEM else []),
        "SocketMode=0600",
        "RemoveOnStop=yes",
    ]


def _file(sections: dict[str, list[str]]) -> str:
    parts = (f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items())
    return f"{MARK}\n\n" + "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    """A value that systemd reads back as it is: one word, without specifiers."""
    plain = _without_specifiers(text)
    if plain and all(character.isalnum() or character in "/._-=:@+,%" for character in plain):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _without_specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _argument(text: str) -> str:
    """The same for ExecStart, where a dollar would begin a variable."""
    return _quoted(text.replace("$", "$$"))
