"""One run of the real code that is interrupted, and how what is found afterwards is judged."""

from __future__ import annotations

import io
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from hyperion.errors import HostError, HyperionError, MalformedPackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.random_access import RandomAccess
from hyperion.format.recovery import find_interrupted, repair
from tests.crash.disk import Disk, Tree, power_cuts, read_tree
from tests.crash.recorder import Failure, Operation, Recorder

NAME = "model.hyperion"


class LostError(AssertionError):
    """A state that is neither old nor new."""


class MemoryFile:
    """Implements format.update.ChangeableFile on bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def pwrite(self, data: memoryview, offset: int, /) -> int:
        if len(self.data) < offset:
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        return len(data)

    def fsync(self) -> None:
        pass

    def truncate(self, size_bytes: int, /) -> None:
        del self.data[size_bytes:]


class Scenario(ABC):
    """One run of the real code in a folder of its own.

    Attributes:
        name: For the report.
    """

    name: str

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Put what is there before into ``folder``."""

    @abstractmethod
    def run(self, folder: Path) -> None:
        """The work that the power cut interrupts."""

    @abstractmethod
    def judge(self, tree: Tree, scratch: Path) -> str:
        """Name the state: old, new, or how it becomes one of them.

        Args:
            tree: What the folder holds after the power is back.
            scratch: A path where nothing is, to put it on a real disk.

        Raises:
            LostError: It is neither.
        """

    def record(self, folder: Path) -> tuple[Disk, list[Operation]]:
        """Do it, in the fresh ``folder``: the disk as it was before, and what was asked of it."""
        folder.mkdir()
        self.prepare(folder)
        disk = Disk.holding(folder)
        with Recorder(folder) as recorder:
            self.run(folder)
        self.after(folder)
        return disk, recorder.operations

    def after(self, folder: Path) -> None:  # noqa: B027 - only some need it
        """Take note of what the finished work left in ``folder``."""

    def fail(self, folder: Path, failure: Failure) -> str:
        """Do it where one call fails, once it was recorded; the state of the fresh ``folder`` afterwards.

        Raises:
            LostError: It is neither old nor new, or something was left beside it.
        """
        folder.mkdir()
        self.prepare(folder)
        before = {item.name for item in folder.iterdir()}
        try:
            with Recorder(folder, failure):
                self.run(folder)
        except HostError as error:
            state = self.judged(read_tree(folder), folder.with_name("scratch"))
            left = {item.name for item in folder.iterdir()} - before - {NAME, "model"}
            if left:
                raise LostError(f"{self.name}: {left} was left behind") from error
            return f"{state} ({error.code})"
        raise LostError(f"{self.name}: {failure} was overlooked")

    def judged(self, tree: Tree, scratch: Path) -> str:
        """The same as ``judge``; that the real code refuses what was left is a loss too."""
        try:
            return self.judge(tree, scratch)
        except HyperionError as refused:
            raise LostError(f"{self.name}: {refused}") from refused

    def states(self, folder: Path, rng: random.Random, count: int) -> Iterator[str]:
        """The states of ``count`` power cuts."""
        disk, operations = self.record(folder / "recorded")
        scratch = folder / "scratch"
        for tree in power_cuts(disk, operations, rng, count):
            yield self.judged(tree, scratch)
            if scratch.exists():
                shutil.rmtree(scratch)


def judge_file(found: bytes, old: bytes, new: bytes, what: str) -> str:
    """The state of an updated package file, by the strict reader and by recovery."""
    try:
        ArchiveReader(io.BytesIO(found), what, Path(what)).close()
    except MalformedPackageError as refused:
        interrupted = find_interrupted(RandomAccess(io.BytesIO(found)))
        if interrupted is None:
            raise LostError(f"{what}: {refused}") from refused
        file = MemoryFile(found)
        repair(file, interrupted)
        if file.data == (old if interrupted.ahead is None else new):
            return "recovered: taken back" if interrupted.ahead is None else "recovered: finished"
        raise LostError(f"{what}: recovery made another file of it") from refused
    return "old" if found == old else new_if(found == new, what)


def new_if(whole: bool, what: str, state: str = "new") -> str:
    """``state``, or LostError where not ``whole``."""
    if not whole:
        raise LostError(what)
    return state
