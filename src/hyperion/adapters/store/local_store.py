"""Packages on this host: ``blobs/sha256/HEX``, one read-only file per entry, written once and never changed.

A package is admitted when the blob of its manifest is there, whose digest is the package's; that blob comes last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hyperion.adapters.files.atomic_file import sync_folder, translated
from hyperion.adapters.files.state_folder import claim_state, make_private
from hyperion.adapters.store.package_tree import write_tree
from hyperion.domain.digest import digest_of, hex_of, short
from hyperion.domain.manifest import Entry, Manifest
from hyperion.errors import DigestMismatchError, HostError, NotFoundError
from hyperion.format.archive import repack
from hyperion.format.block_pump import BlockPump
from hyperion.format.free_space import require_space
from hyperion.format.manifest_json import read_manifest
from hyperion.format.opened import OpenedPackage
from hyperion.format.package import EntryLocation, PackageReader
from hyperion.format.verified import check_content, pump_entry
from hyperion.ports import Files

_READ_ONLY = 0o444


class LocalPackageStore:
    """Implements ports.PackageStore.

    Args:
        root: The state folder; blobs lie in ``blobs/sha256``, temporaries in ``tmp``.
        files: Writer for exports.
    """

    def __init__(self, root: Path, files: Files) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._signings = root / "signings" / "sha256"
        self._temporaries = root / "tmp"
        self._files = files
        self._root = root
        self._claimed = False

    def admit(self, package: PackageReader, progress: Callable[[int], None] | None = None) -> str:
        """Copy what is missing, all of it verified before any of it is kept; see ports.PackageStore."""
        digest = package.digest
        self._claim()
        if self.has(digest) and not self._missing(package.manifest):
            self._keep_signing(package)
            return digest
        with translated(self._blobs), self._staged() as temporaries:
            missing = self._missing(package.manifest)
            needed = sum(entry.size_bytes for entry in missing.values()) + len(package.manifest_bytes)
            require_space(self._temporaries, needed, f"package {short(digest)} in the store")
            with BlockPump() as pump:
                for name, entry in missing.items():
                    temporaries[self.blob(entry.digest)] = self._copy(package, name, pump, progress)
                for name in package.names():
                    check_content(package, name)
            for blob, temporary in temporaries.items():
                temporary.replace(blob)
            sync_folder(self._blobs)
            self._keep_signing(package)
            manifest = self._temporary()
            temporaries[self.blob(digest)] = manifest
            self._write(manifest, lambda write: write(memoryview(package.manifest_bytes)))
            manifest.replace(self.blob(digest))
            sync_folder(self._blobs)
        return digest

    def has(self, digest: str) -> bool:
        return self.blob(digest).is_file()

    def open(self, digest: str) -> PackageReader:
        """Open an admitted package; see ports.PackageStore."""
        blob = self.blob(digest)
        with translated(blob):
            try:
                raw = blob.read_bytes()
            except FileNotFoundError:
                raise NotFoundError(
                    f"the package {digest} was never admitted to the store of this host",
                    hint="deploy its file again",
                    code="store.package_not_found",
                ) from None
        if digest_of(raw) != digest:
            raise DigestMismatchError(
                f"the store's manifest of {digest} is damaged",
                hint=f"remove {blob} and deploy the package again",
                expected=digest,
                actual=digest_of(raw),
            )
        manifest = read_manifest(raw, short(digest))
        missing = self._missing(manifest)
        if missing:
            name, entry = next(iter(missing.items()))
            raise HostError(
                f"the store lost the entry {name!r} of {digest}: there is no {self.blob(entry.digest)}",
                hint="deploy the package's file again",
                code="store.blob_missing",
            )
        return StoredPackage(self, manifest, raw, self._signing(digest))

    def export(self, digest: str, output: Path) -> None:
        """Write the package as one file; see ports.PackageStore."""
        with self.open(digest) as package, self._files.replacing(output) as stream:
            repack(stream, package)

    def export_tree(self, digest: str, output: Path, shared: Mapping[str, Path]) -> int:
        """Write the package as a directory; see ports.PackageStore."""
        with self.open(digest) as package, translated(output):
            return write_tree(package, output, shared)

    def blob(self, digest: str) -> Path:
        """Where the bytes of this digest lie, or would."""
        return self._blobs / hex_of(digest)

    def _keep_signing(self, package: PackageReader) -> None:
        """Keep the newest signing of a package beside its blobs: no digest covers it, and an export needs it."""
        if package.signing is None or package.signing == self._signing(package.digest):
            return
        with translated(self._signings):
            make_private(self._signings)
        with self._files.replacing(self._signings / hex_of(package.digest)) as stream:
            stream.write(package.signing)

    def _signing(self, digest: str) -> bytes | None:
        path = self._signings / hex_of(digest)
        with translated(path):
            return path.read_bytes() if path.is_file() else None

    def _missing(self, manifest: Manifest) -> dict[str, Entry]:
        """Entries without a whole blob, each digest once."""
        found: dict[str, Entry] = {}
        seen: set[str] = set()
        for name, entry in manifest.entries.items():
            if entry.digest in seen:
                continue
            seen.add(entry.digest)
            try:
                status = self.blob(entry.digest).stat()
            except FileNotFoundError:
                found[name] = entry
                continue
            if status.st_size != entry.size_bytes:
                found[name] = entry
        return found

    def _copy(self, package: PackageReader, name: str, pump: BlockPump, progress: Callable[[int], None] | None) -> Path:
        temporary = self._temporary()
        try:
            self._write(temporary, lambda write: pump_entry(package, name, pump, write=write, progress=progress))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _write(self, temporary: Path, fill: Callable[[Callable[[memoryview], object]], object]) -> None:
        with temporary.open("xb", buffering=0) as stream:

            def write(block: memoryview) -> None:
                while block:
                    block = block[stream.write(block) :]

            fill(write)
            os.fchmod(stream.fileno(), _READ_ONLY)
            os.fsync(stream.fileno())

    def _temporary(self) -> Path:
        return self._temporaries / f"blob-{secrets.token_hex(8)}"

    @contextlib.contextmanager
    def _staged(self) -> Iterator[dict[Path, Path]]:
        """Temporaries by the blob that they will be; none is left behind, and no one sweeps them meanwhile."""
        temporaries: dict[Path, Path] = {}
        with self._lock_file() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                yield temporaries
            finally:
                for temporary in temporaries.values():
                    temporary.unlink(missing_ok=True)

    def _claim(self) -> None:
        """Make the folders at an admission, so that commands that only read leave no trace.

        They are looked for each time: a supervisor outlives folders that somebody removes under it.
        """
        claim_state(self._root)
        with translated(self._root):
            make_private(self._blobs)
            self._temporaries.mkdir(mode=0o700, exist_ok=True)
            if not self._claimed:
                self._sweep()
        self._claimed = True

    def _sweep(self) -> None:
        """Remove what killed writers left; skipped while another process writes."""
        with self._lock_file() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in self._temporaries.glob("blob-*"):
                leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock_file(self) -> Iterator[int]:
        descriptor = os.open(self._temporaries / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class StoredPackage(OpenedPackage):
    """A package in the store: its entries are blobs."""

    def __init__(self, store: LocalPackageStore, manifest: Manifest, raw: bytes, signing: bytes | None) -> None:
        super().__init__(short(digest_of(raw)), manifest, raw, signing)
        self._store = store

    def locate(self, name: str) -> EntryLocation:
        entry = self.entry(name)
        return EntryLocation(self._store.blob(entry.digest), 0, entry.size_bytes)
