"""Units of systemd for this host: shown, or written and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hyperion.domain.document import Document
from hyperion.domain.service_unit import MARK, SOCKET_FILE, Scope, ServiceRequest, service_units
from hyperion.errors import ConfigError, ConflictError
from hyperion.ports import Host

PLACES = {Scope.SYSTEM: Path("/etc/systemd/system"), Scope.USER: Path("~/.config/systemd/user")}
"""Where an administrator's units lie, and a user's (man 5 systemd.unit)."""
READABLE = 0o644
LONGEST_PATH = 107
"""Bytes of a unix socket's address (man 7 unix), without the one that ends it."""


class UnitCheck(Document):
    """What ``systemd-analyze verify`` said of them."""

    passed: bool | None
    """None where the tool does not exist here."""
    messages: tuple[str, ...] = ()


class ServiceUnits(Document):
    """The units, and what became of them."""

    units: dict[str, str]
    """Texts by file name."""
    folder: str | None = None
    """Where they were written; None where they are only shown."""
    changed: bool = False
    check: UnitCheck | None = None
    next_steps: tuple[str, ...] = ()
    """Commands that bring them into force."""


def show_service(host: Host, request: ServiceRequest) -> ServiceUnits:
    """The units as they would be written."""
    return ServiceUnits(units=service_units(_for_deployments(host, request)))


def install_service(
    host: Host,
    request: ServiceRequest,
    folder: Path | None,
    verify: Callable[[Sequence[Path], Scope], UnitCheck],
) -> ServiceUnits:
    """Write the units and have systemd check them; systemd itself is told nothing.

    Args:
        host: Its files and its ledger.
        request: What the units do.
        folder: Where, made where it is missing; None for the usual place of the scope.
        verify: Checks the written files.

    Raises:
        ConflictError: A unit of this name is there that we did not write (code ``service.foreign_unit``).
        HostError: It cannot be written.
    """
    units = service_units(_for_deployments(host, request))
    place = folder or PLACES[request.scope].expanduser()
    if folder is None and request.scope is Scope.USER:
        place.mkdir(parents=True, exist_ok=True)
    elif folder is not None and not folder.exists():
        host.files.make_folder(folder)
    paths = [place / name for name in units]
    for path in paths:
        _require_own(path)
    changed = False
    for path, text in zip(paths, units.values(), strict=True):
        if path.is_file() and path.read_text() == text:
            continue
        with host.files.replacing(path) as stream:
            stream.write(text.encode())
        path.chmod(READABLE)
        changed = True
    return ServiceUnits(
        units=units,
        folder=str(place),
        changed=changed,
        check=verify(paths, request.scope),
        next_steps=_next_steps(request),
    )


def parse_listen(text: str) -> str:
    """An address for the socket unit, as systemd takes it.

    Raises:
        ConfigError: It is neither HOST:PORT nor the path of a unix socket (code ``service.listen``).
    """
    if text.startswith("/"):
        if len(text.encode(errors="surrogateescape")) <= LONGEST_PATH and text.isprintable() and not text.endswith("/"):
            return text
        raise ConfigError(
            f"--listen {text[:120]!r}: expected the path of a unix socket in at most {LONGEST_PATH} bytes",
            hint="name serve.socket of the deployment",
            code="service.listen",
        )
    host, _, port = text.rpartition(":")
    if (
        not host
        or not port.isascii()
        or not port.isdigit()
        or not 0 < int(port) < 65_536
        or any(map(str.isspace, text))
    ):
        raise ConfigError(
            f"--listen {text[:100]!r}: expected HOST:PORT or a path, such as 127.0.0.1:8080 or /run/shop.sock",
            hint="name serve.host and serve.port of the deployment, or its serve.socket",
            code="service.listen",
        )
    return text


def _for_deployments(host: Host, request: ServiceRequest) -> ServiceRequest:
    """With time enough for the slowest drain of what is desired now."""
    drains = [
        host.ledger.revision(one.name, one.desired_revision).config.drain_timeout_s
        for one in host.ledger.deployments()
        if one.desired_revision is not None
    ]
    return replace(request, drain_timeout_s=max([request.drain_timeout_s, *drains]))


def _require_own(path: Path) -> None:
    if path.exists() and not path.read_text(errors="replace").startswith(MARK):
        raise ConflictError(
            f"{path} is there already, and 'hyperion service install' did not write it",
            hint="move it aside, or write the units to another folder with --output",
            code="service.foreign_unit",
        )


def _next_steps(request: ServiceRequest) -> tuple[str, ...]:
    systemctl = "systemctl --user" if request.scope is Scope.USER else "sudo systemctl"
    names = f"hyperion {SOCKET_FILE}" if request.listen else "hyperion"
    steps = [f"{systemctl} daemon-reload", f"{systemctl} enable --now {names}"]
    if request.scope is Scope.USER:
        steps.append("loginctl enable-linger  # so that it runs while you are logged out")
    return tuple(steps)
