"""From a package's path to a revision: what the supervisor does before a worker is started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from hyperion.domain.command import Deploy, Progress
from hyperion.domain.deployment import Revision
from hyperion.domain.manifest import Manifest
from hyperion.errors import ConflictError
from hyperion.ports import Clock, Ledger, PackageOpener, PackageStore

MIB = 1024 * 1024
TELL_EVERY_S = 0.5


async def admit_package(
    packages: PackageOpener, store: PackageStore, command: Deploy, tell: Callable[[Progress], None]
) -> Manifest:
    """Copy the package into the store, in a thread, and return its manifest.

    Raises:
        ConflictError: It is not the package that was checked (code ``package.changed``).
        PackageError: It is broken.
        HostError: It cannot be stored.
    """
    loop = asyncio.get_running_loop()

    def say(message: str) -> None:
        loop.call_soon_threadsafe(tell, Progress(stage="admit", message=message))

    return await asyncio.to_thread(_admit, packages, store, command, say)


def _admit(packages: PackageOpener, store: PackageStore, command: Deploy, say: Callable[[str], None]) -> Manifest:
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
        return package.manifest


def make_revision(command: Deploy, manifest: Manifest, ledger: Ledger, clock: Clock) -> Revision:
    """The next revision of the deployment that the config names."""
    name = command.config.name or manifest.name
    numbers = [revision.number for revision in ledger.revisions(name)]
    active = next((found.active_revision for found in ledger.deployments() if found.name == name), None)
    return Revision(
        deployment=name,
        number=max(numbers, default=0) + 1,
        digest=command.expected_digest,
        model=manifest.name,
        version=manifest.version,
        config=command.config.model_copy(update={"name": name}),
        origin=command.origin,
        reason=command.reason,
        override=command.override,
        replaces=active,
        actor=command.actor,
        created_at=clock.now(),
    )
