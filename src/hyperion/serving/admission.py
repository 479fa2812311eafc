"""From a package's path to a revision: what the supervisor does before a worker is started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hyperion.domain.command import Deploy, Progress
from hyperion.domain.deployment import Origin, Revision
from hyperion.errors import ConfigError, ConflictError, Problem
from hyperion.ports import Clock, Ledger, PackageOpener, PackageStore

MIB = 1024 * 1024
TELL_EVERY_S = 0.5


class Admitted(NamedTuple):
    """What a package that is in the store says of itself."""

    model: str
    version: str


async def admit_package(
    packages: PackageOpener,
    store: PackageStore,
    command: Deploy,
    tell: Callable[[Progress], None],
    warm: Revision | None = None,
) -> Admitted:
    """Copy the package into the store, in a thread; what workers hold that are kept ``warm`` is looked at no more.

    Raises:
        NotFoundError: It should be in the store, and is not (code ``store.package_not_found``).
        ConflictError: It is not the package that was checked (code ``package.changed``).
        PackageError: It is broken.
        HostError: It cannot be stored.
    """
    if warm is not None and command.package_path is None:
        return Admitted(warm.model, warm.version)
    loop = asyncio.get_running_loop()

    def say(message: str) -> None:
        loop.call_soon_threadsafe(tell, Progress(stage="admit", message=message))

    return await asyncio.to_thread(_admit, packages, store, command, say)


def _admit(packages: PackageOpener, store: PackageStore, command: Deploy, say: Callable[[str], None]) -> Admitted:
    if command.package_path is None:
        with store.open(command.expected_digest) as stored:
            return Admitted(stored.manifest.name, stored.manifest.version)
    with packages.open(Path(command.package_path)) as package:
        if package.digest != command.expected_digest:
            raise ConflictError(
                f"{command.package_path} is not the package that was checked",
                hint="it changed meanwhile: repeat the command",
                code="package.changed",
                expected=command.expected_digest,
                actual=package.digest,
            )
        copied, told_at = 0, time.monotonic()
        total_mib = package.manifest.total_bytes / MIB

        def count(size: int) -> None:
            nonlocal copied, told_at
            copied += size
            if time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                say(f"{copied / MIB:.0f} of {total_mib:.0f} MiB copied")

        say(f"admitting {package.manifest.name} {package.manifest.version} to the store")
        store.admit(package, count)
        return Admitted(package.manifest.name, package.manifest.version)


def make_revision(command: Deploy, package: Admitted, ledger: Ledger, clock: Clock) -> Revision:
    """The next revision of the deployment that the config names."""
    name = command.config.name or package.model
    return Revision(
        deployment=name,
        number=ledger.latest_number(name) + 1,
        digest=command.expected_digest,
        model=package.model,
        version=package.version,
        config=command.config.model_copy(update={"name": name}),
        origin=command.origin,
        reason=command.reason,
        override=command.override,
        replaces=_active_number(ledger, name),
        actor=command.actor,
        created_at=clock.now(),
    )


def require_possible(revision: Revision, active: Revision | None) -> None:
    """Refuse a canary whose requests would arrive where the active revision does not listen.

    Raises:
        ConfigError: Code ``rollout.canary_moves``.
    """
    if active is None or revision.origin is not Origin.DEPLOY or revision.config.strategy != "canary":
        return
    here, there = active.config.serve, revision.config.serve
    if here.address == there.address:
        return
    raise ConfigError(
        f"a canary gets requests from the active revision, which listens at {here.place}, not at {there.place}",
        problems=[Problem("serve", f"expected the address of revision {active.number}, {here.place}")],
        hint="move first, with the strategy 'blue-green', or keep the address",
        code="rollout.canary_moves",
    )


def revision_like(target: Revision, ledger: Ledger, clock: Clock, *, actor: str, reason: str) -> Revision:
    """The next revision of the deployment: ``target`` again, as a rollback."""
    return target.model_copy(
        update={
            "number": ledger.latest_number(target.deployment) + 1,
            "origin": Origin.ROLLBACK,
            "reason": reason,
            "override": None,
            "replaces": _active_number(ledger, target.deployment),
            "actor": actor,
            "created_at": clock.now(),
        }
    )


def _active_number(ledger: Ledger, deployment: str) -> int | None:
    found = ledger.deployment(deployment)
    return None if found is None else found.active_revision
