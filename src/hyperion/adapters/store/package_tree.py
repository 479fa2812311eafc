"""A stored package as a directory of its own: a file that an earlier backup holds already becomes a hard link to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.format.free_space import require_space
from hyperion.format.kernel_copy import copy_start
from hyperion.format.package import PackageReader

_READ_ONLY = 0o444
_WRITABLE = 0o222


def write_tree(package: PackageReader, output: Path, shared: Mapping[str, Path]) -> int:
    """Write every file of ``package`` into the empty folder ``output``; see ports.PackageStore.export_tree.

    Copies are made in the kernel, as clones where the file system has them; nothing is verified here.
    """
    sizes = {name: entry.size_bytes for name, entry in package.manifest.entries.items()}
    lent = {name: shared[entry.digest] for name, entry in package.manifest.entries.items() if entry.digest in shared}
    needed = sum(size for name, size in sizes.items() if name not in lent) + len(package.manifest_bytes)
    require_space(output, needed, f"the entries of {package.source}")
    linked = 0
    for name in package.names():
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in lent and _link(lent[name], target, sizes[name]):
            linked += sizes[name]
        else:
            _copy(package, name, target)
    if package.signing is not None:
        _write(output / SIGNING, package.signing)
    manifest = shared.get(package.digest)
    if manifest is None or not _link(manifest, output / MANIFEST, len(package.manifest_bytes)):
        _write(output / MANIFEST, package.manifest_bytes)
    return linked


def _link(source: Path, target: Path, size_bytes: int) -> bool:
    """Whether ``target`` became another name of ``source``; not where somebody may write it, or there are no links."""
    try:
        found = source.lstat()
        own = found.st_uid == os.geteuid() and not found.st_mode & _WRITABLE
        if not (own and stat.S_ISREG(found.st_mode) and found.st_size == size_bytes):
            return False
        os.link(source, target, follow_symlinks=False)
    except OSError:  # gone, too many links, another disk, a file system without links
        return False
    return True


def _copy(package: PackageReader, name: str, target: Path) -> None:
    place = package.locate(name)
    with place.path.open("rb", buffering=0) as source, target.open("xb", buffering=0) as stream:
        copy_start(source.fileno(), stream.fileno(), place.size_bytes, f"{package.source}: {name}")
        os.fchmod(stream.fileno(), _READ_ONLY)


def _write(target: Path, data: bytes) -> None:
    with target.open("xb") as stream:
        stream.write(data)
        os.fchmod(stream.fileno(), _READ_ONLY)
