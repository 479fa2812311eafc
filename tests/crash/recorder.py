"""What a piece of Hyperion asks of the disk, call by call: nothing is replaced, every call goes on to the kernel."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from unittest import mock

Kind = Literal["create", "write", "resize", "sync", "mkdir", "rename", "unlink"]


@dataclass(frozen=True)
class Operation:
    """One change of files under the recorded folder, or one demand that changes be durable.

    Attributes:
        kind: ``sync`` is of a file or of a folder.
        path: Relative to the recorded folder; ``.`` is that folder.
        offset: Of a write.
        data: Of a write.
        size_bytes: After a resize.
        target: Of a rename.
    """

    kind: Kind
    path: str
    offset: int = 0
    data: bytes = b""
    size_bytes: int = 0
    target: str = ""


@dataclass(frozen=True)
class Failure:
    """A call that the kernel refuses: the one with this number, from 0, of its kind; half of a write is done before."""

    kind: Kind
    number: int
    code: int


class Recorder:
    """Records, while it is entered, every call of this process that changes files under a folder.

    Args:
        root: The folder.
        failure: One call that is to fail.
    """

    def __init__(self, root: Path, failure: Failure | None = None) -> None:
        self.root = root.resolve()
        self._failure = failure
        self._calls: Counter[Kind] = Counter()
        self.operations: list[Operation] = []
        self._open: dict[int, str] = {}
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        changed = {
            "open": self._os_open, "close": self._os_close, "dup": self._os_dup, "fsync": self._os_fsync,
            "fdatasync": self._os_fsync, "ftruncate": self._os_ftruncate, "pwrite": self._os_pwrite,
            "write": self._os_write, "copy_file_range": self._os_copy_file_range, "sendfile": self._os_sendfile,
            "rename": self._os_rename, "replace": self._os_rename, "mkdir": self._os_mkdir, "unlink": self._os_unlink,
            "remove": self._os_unlink,
        }  # fmt: skip
        for name, recording in changed.items():
            real = getattr(os, name)
            self._patches.enter_context(mock.patch.object(os, name, _bound(recording, real)))
        for name in ("writev", "pwritev", "truncate", "posix_fallocate", "link", "symlink", "splice"):
            self._patches.enter_context(mock.patch.object(os, name, _unknown(name)))
        self._patches.enter_context(mock.patch.object(io, "open", _bound(self._io_open, io.open)))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._patches.close()

    def note(self, kind: Kind, path: str, **more: Any) -> None:
        self.operations.append(Operation(kind, path, **more))

    def written(self, name: str, offset: int, data: Any, write: Callable[[memoryview], int]) -> int:
        """Write and note what was written; of a write that is to fail, half."""
        view, failing = memoryview(data).cast("B"), self._is_turn("write")
        view = view[: len(view) // 2] if failing else view
        count = write(view)
        self.note("write", name, offset=offset, data=bytes(view[:count]))
        if failing:
            raise self._refusal()
        return count

    def _is_turn(self, kind: Kind) -> bool:
        """Count a call that is about to be made; whether it is the one to fail."""
        number, self._calls[kind] = self._calls[kind], self._calls[kind] + 1
        return self._failure is not None and (kind, number) == (self._failure.kind, self._failure.number)

    def _refusal(self) -> OSError:
        assert self._failure is not None
        return OSError(self._failure.code, os.strerror(self._failure.code))

    def _name(self, path: Any) -> str | None:
        """``path`` relative to the folder, None where it lies elsewhere."""
        if not isinstance(path, (str, os.PathLike)):
            return None
        whole = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100 - a link is not followed
        return str(whole.relative_to(self.root)) if whole.is_relative_to(self.root) else None

    def _os_open(self, real: Callable[..., int], path: Any, flags: int, *rest: Any, **more: Any) -> int:
        name = self._name(path)
        existed = os.path.lexists(path)
        descriptor = real(path, flags, *rest, **more)
        if name is not None:
            self._open[descriptor] = name
            if flags & os.O_CREAT and not existed:
                self.note("create", name)
            elif flags & os.O_TRUNC:
                self.note("resize", name)
        return descriptor

    def _os_close(self, real: Callable[..., None], descriptor: int) -> None:
        self._open.pop(descriptor, None)
        real(descriptor)

    def _os_dup(self, real: Callable[..., int], descriptor: int) -> int:
        made = real(descriptor)
        if descriptor in self._open:
            self._open[made] = self._open[descriptor]
        return made

    def _os_fsync(self, real: Callable[..., None], descriptor: int) -> None:
        name = self._open.get(descriptor)
        if name is not None and self._is_turn("sync"):
            raise self._refusal()
        real(descriptor)
        if name is not None:
            self.note("sync", name)

    def _os_ftruncate(self, real: Callable[..., None], descriptor: int, size_bytes: int) -> None:
        real(descriptor, size_bytes)
        if descriptor in self._open:
            self.note("resize", self._open[descriptor], size_bytes=size_bytes)

    def _os_pwrite(self, real: Callable[..., int], descriptor: int, data: Any, offset: int) -> int:
        if descriptor not in self._open:
            return real(descriptor, data, offset)
        return self.written(self._open[descriptor], offset, data, lambda view: real(descriptor, view, offset))

    def _os_write(self, real: Callable[..., int], descriptor: int, data: Any) -> int:
        if descriptor not in self._open:
            return real(descriptor, data)
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        return self.written(self._open[descriptor], offset, data, lambda view: real(descriptor, view))

    def _os_copy_file_range(self, real: Callable[..., int], source: int, target: int, *rest: Any) -> int:
        return self._within_kernel(target, lambda: real(source, target, *rest))

    def _os_sendfile(self, real: Callable[..., int], target: int, *rest: Any) -> int:
        return self._within_kernel(target, lambda: real(target, *rest))

    def _within_kernel(self, target: int, call: Callable[[], int]) -> int:
        offset = os.lseek(target, 0, os.SEEK_CUR)
        if target in self._open and self._is_turn("write"):
            raise self._refusal()
        count = call()
        if target in self._open and count:
            with open(self.root / self._open[target], "rb") as stream:  # noqa: PTH123
                stream.seek(offset)
                self.note("write", self._open[target], offset=offset, data=stream.read(count))
        return count

    def _os_rename(self, real: Callable[..., None], source: Any, target: Any, **more: Any) -> None:
        real(source, target, **more)
        before, after = self._name(source), self._name(target)
        if before is not None and after is not None:
            self.note("rename", before, target=after)
            self._open = {key: after if name == before else name for key, name in self._open.items()}

    def _os_mkdir(self, real: Callable[..., None], path: Any, *rest: Any, **more: Any) -> None:
        real(path, *rest, **more)
        if (name := self._name(path)) is not None:
            self.note("mkdir", name)

    def _os_unlink(self, real: Callable[..., None], path: Any, **more: Any) -> None:
        real(path, **more)
        if (name := self._name(path)) is not None:
            self.note("unlink", name)

    def _io_open(self, real: Callable[..., Any], file: Any, mode: str = "r", buffering: int = -1, *rest: Any) -> Any:
        name = self._open.get(file) if isinstance(file, int) else self._name(file)
        if name is None or not set(mode) & set("wxa+"):
            return real(file, mode, buffering, *rest)
        existed = isinstance(file, int) or os.path.lexists(file)
        raw = _RecordingFile(self, name, file, mode.replace("b", ""))
        self._open[raw.fileno()] = name
        if not existed:
            self.note("create", name)
        elif "w" in mode and not isinstance(file, int):
            self.note("resize", name)
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
        return kind(raw, buffering if buffering > 0 else io.DEFAULT_BUFFER_SIZE)


class _RecordingFile(io.FileIO):
    def __init__(self, recorder: Recorder, name: str, file: Any, mode: str) -> None:
        super().__init__(file, mode)
        self._recorder, self._recorded = recorder, name

    def write(self, data: Any, /) -> int:
        return self._recorder.written(self._recorded, self.tell(), data, super().write)

    def truncate(self, size_bytes: int | None = None, /) -> int:
        done = super().truncate(size_bytes)
        self._recorder.note("resize", self._recorded, size_bytes=done)
        return done


def _bound(recording: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *words, **more: recording(real, *words, **more)


def _unknown(name: str) -> Callable[..., Any]:
    def refuse(*_words: Any, **_more: Any) -> Any:
        raise NotImplementedError(f"the recorder does not know os.{name}: teach it")

    return refuse


__all__ = ["Failure", "Operation", "Recorder"]
