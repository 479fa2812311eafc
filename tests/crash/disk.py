"""A disk that loses power: what it may hold afterwards, of the operations that were asked of it.

What was synced is there. Of the rest each sector of 512 bytes holds what it held at any moment since, each change of a
file's size and of a folder's names may have arrived or not, and none waits for another. Where a file grew and its
sectors did not arrive, there are zeros.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.crash.recorder import Operation

SECTOR_BYTES = 512

Tree = dict[str, "bytes | Tree"]
"""What a folder holds after the power is back: bytes of files, trees of folders, by name."""


@dataclass
class File:
    """A file: what is surely on the disk, and what was written since."""

    durable: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        if len(self.now) < offset:
            self.now.extend(bytes(offset - len(self.now)))
        self.now[offset : offset + len(data)] = data
        self.writes.append((offset, data))
        self.sizes.append(len(self.now))

    def resize(self, size_bytes: int) -> None:
        del self.now[size_bytes:]
        self.now.extend(bytes(size_bytes - len(self.now)))
        self.sizes.append(size_bytes)

    def sync(self) -> None:
        self.durable, self.writes, self.sizes = bytes(self.now), [], []

    def is_unsure(self) -> bool:
        """Whether more than one state may be found."""
        return bool(self.sizes)

    def after_power_cut(self, rng: random.Random) -> bytes:
        size_bytes = rng.choice([len(self.durable), *self.sizes])
        image = bytearray(self.durable)
        longest = max([size_bytes, *(offset + len(data) for offset, data in self.writes)])
        image.extend(bytes(max(0, longest - len(image))))
        newest = rng.choice((0.0, 0.5, 0.9, 1.0, rng.random()))
        versions: dict[int, int] = {}
        for offset, data in self.writes:
            for sector in range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)):
                versions[sector] = versions.get(sector, 0) + 1
        arrived = {
            sector: count if rng.random() < newest else rng.randrange(count) for sector, count in versions.items()
        }
        for offset, data in self.writes:
            for sector in range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)):
                arrived[sector] -= 1
                if arrived[sector] >= 0:
                    begin = max(offset, sector * SECTOR_BYTES)
                    end = min(offset + len(data), (sector + 1) * SECTOR_BYTES)
                    image[begin:end] = data[begin - offset : end - offset]
        return bytes(image[:size_bytes])


@dataclass
class Folder:
    """A folder: the names that are surely on the disk, and what became of them since."""

    durable: dict[str, File | Folder] = field(default_factory=dict)
    now: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        """Give and take names in one step; None takes one away."""
        self.changes.append(names)
        _apply(self.now, names)

    def sync(self) -> None:
        self.durable, self.changes = dict(self.now), []

    def is_unsure(self) -> bool:
        """Whether more than one state may be found, here or below."""
        return bool(self.changes) or any(node.is_unsure() for node in self.now.values())

    def after_power_cut(self, rng: random.Random) -> Tree:
        names = dict(self.durable)
        arrives = rng.choice((0.0, 0.5, 1.0))
        for change in self.changes:
            if rng.random() < arrives:
                _apply(names, change)
        return {name: node.after_power_cut(rng) for name, node in names.items()}


class Disk:
    """A folder on a disk that does as it is told until the power goes."""

    def __init__(self, root: Folder) -> None:
        self.root = root

    @classmethod
    def holding(cls, path: Path) -> Disk:
        """A disk that surely holds what the folder ``path`` holds now."""
        return cls(_held(path))

    def do(self, operation: Operation) -> None:
        node = None if operation.kind in ("create", "mkdir") else self._find(operation.path)
        folder, name = self._parent(operation.path)
        match operation.kind, node:
            case "create", None:
                folder.change({name: File()})
            case "mkdir", None:
                folder.change({name: Folder()})
            case "write", File():
                node.write(operation.offset, operation.data)
            case "resize", File():
                node.resize(operation.size_bytes)
            case "sync", File() | Folder():
                node.sync()
            case "unlink", File():
                folder.change({name: None})
            case "rename", File() | Folder():
                other, target = self._parent(operation.target)
                assert other is folder, "renames between folders are not modelled"
                folder.change({name: None, target: node})
            case _:
                raise AssertionError(f"{operation.kind} of {operation.path}: no such thing")

    def after_power_cut(self, rng: random.Random) -> Tree:
        """One of the states that may be found."""
        return self.root.after_power_cut(rng)

    def _find(self, path: str) -> File | Folder:
        node: File | Folder = self.root
        for part in PurePosixPath(path).parts:
            assert isinstance(node, Folder), path
            node = node.now[part]
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder = self._find(str(PurePosixPath(path).parent))
        assert isinstance(folder, Folder), path
        return folder, PurePosixPath(path).name


def power_cuts(disk: Disk, operations: Sequence[Operation], rng: random.Random, count: int) -> Iterator[Tree]:
    """About ``count`` states, of all moments after which not everything is sure; one of every other moment.

    Args:
        disk: As it was before; it does the operations.
        operations: What was asked of it.
        rng: Decides what arrived.
        count: How many states.
    """
    rehearsed = deepcopy(disk)
    unsure = []
    for operation in operations:
        rehearsed.do(operation)
        unsure.append(rehearsed.root.is_unsure())
    share, rest = divmod(max(0, count - unsure.count(False)), max(1, unsure.count(True)))
    for operation, is_unsure in zip(operations, unsure, strict=True):
        disk.do(operation)
        rest -= is_unsure
        for _ in range(share + (rest >= 0) if is_unsure else 1):
            yield disk.after_power_cut(rng)


def write_tree(tree: Tree, folder: Path) -> Path:
    """Make a folder of a state."""
    folder.mkdir()
    for name, content in tree.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            write_tree(content, folder / name)
    return folder


def read_tree(folder: Path) -> Tree:
    """What a folder holds now."""
    return {item.name: read_tree(item) if item.is_dir() else item.read_bytes() for item in folder.iterdir()}


def _held(path: Path) -> Folder:
    names: dict[str, File | Folder] = {}
    for item in path.iterdir():
        if item.is_dir():
            names[item.name] = _held(item)
        else:
            data = item.read_bytes()
            names[item.name] = File(data, bytearray(data))
    return Folder(names, dict(names))


def _apply(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node
