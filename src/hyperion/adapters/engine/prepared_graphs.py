"""Graphs as the engine takes them, kept on this host so that one package is parsed and validated once.

Reading architecture.json strictly, validating it and pointing its weights at their places takes 10–130 ms, which is as
long as a small model takes to load. What comes of it, ``ModelProto`` bytes with (file, offset, length) references, is
kept in ``graphs/`` of the state folder. It is believed only under the very key that it was made for: the package's
digest, where each weights entry lies, the identity and time stamps of those files, and the software that made it. A
folder that is lost, damaged, full or not ours is an empty one: that costs time, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hyperion.adapters.files.state_folder import claim_state, make_private
from hyperion.domain.manifest import WEIGHTS_FOLDER
from hyperion.errors import HostError
from hyperion.format.file_state import FileState
from hyperion.format.package import PackageReader

FOLDER = "graphs"
MAX_GRAPHS = 64
"""The least recently used ones beyond these are dropped."""
MAX_GRAPH_BYTES = 8 * 1024 * 1024
"""Larger graphs are parsed each time: they are not graphs alone."""
_LAYOUT = b"2"
"""Raised whenever what is kept, or what was checked before, changes."""
_DIGEST_BYTES = 32
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class PreparedGraphs:
    """Graphs by the key that ``graph_key`` gives.

    Args:
        state: The state folder; it is made when the first graph is kept.
        made_by: Version of this software, which parses and validates.
    """

    def __init__(self, state: Path, made_by: str = "") -> None:
        self._state = state
        self._made_by = made_by
        self.folder = state / FOLDER

    def key(self, package: PackageReader, rules: str) -> bytes | None:
        """What a prepared graph of this package depends on, as one digest; None where its files just changed.

        Args:
            package: Opened.
            rules: What else says which graph is valid: version of the engine, operators that are denied.
        """
        return graph_key(package, f"{self._made_by} {rules}")

    def recall(self, key: bytes) -> bytes | None:
        """The graph that was kept under this key; None where there is none, or a damaged one."""
        path = self._path(key)
        try:
            with path.open("rb", buffering=0) as stream:
                facts = os.fstat(stream.fileno())
                if facts.st_uid != os.geteuid() or facts.st_mode & _WRITABLE_BY_OTHERS:
                    return None
                digest = stream.read(_DIGEST_BYTES)
                graph = stream.read(min(facts.st_size, MAX_GRAPH_BYTES))  # as much as it has, for that is made room for
                if digest != _seal(key, graph):
                    return None
                with contextlib.suppress(OSError):
                    os.utime(stream.fileno())  # the time of its last use
        except OSError:
            return None
        return graph

    def remember(self, key: bytes, graph: bytes) -> None:
        """Keep a graph; what cannot be kept is not."""
        if len(graph) > MAX_GRAPH_BYTES:
            return
        temporary = self.folder / f"tmp-{secrets.token_hex(8)}"
        try:
            claim_state(self._state)
            make_private(self.folder)
            self._make_room()
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
                out.write(_seal(key, graph) + graph)
            temporary.replace(self._path(key))
        except (OSError, HostError):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """What all kept graphs take."""
        return sum(facts.st_size for _, facts in self._files())

    def clear(self) -> int:
        """Forget all graphs; returns how many there were."""
        found = list(self._files())
        for path, _ in found:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return len(found)

    def _make_room(self) -> None:
        kept = sorted(self._files(), key=lambda item: item[1].st_mtime_ns)
        for path, _ in kept[: max(0, len(kept) - MAX_GRAPHS + 1)]:
            path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            paths = list(self.folder.iterdir())
        except OSError:
            return
        for path in paths:
            with contextlib.suppress(OSError):
                yield path, path.lstat()

    def _path(self, key: bytes) -> Path:
        return self.folder / key.hex()


def graph_key(package: PackageReader, made_by: str) -> bytes | None:
    """What a prepared graph of this package depends on, as one digest; None where its files just changed.

    Args:
        package: Opened.
        made_by: Versions of all software that parses and validates.
    """
    now_ns = time.time_ns()
    parts = [_LAYOUT, made_by.encode(), package.digest.encode()]
    files: dict[Path, bytes] = {}  # a package file holds all entries
    for name in package.names():
        if not name.startswith(WEIGHTS_FOLDER):
            continue
        location = package.locate(name)
        file = files.get(location.path)
        if file is None:
            path = os.path.realpath(location.path)
            facts = os.stat(path)  # noqa: PTH116 - a string, since a path of any bytes is one
            state = FileState(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            if not state.is_settled(now_ns):
                return None
            file = files[location.path] = os.fsencode(path) + b"\0" + str(state).encode()
        parts += b"", file, f"{name}\0{location.offset}\0{location.size_bytes}".encode()
    return hashlib.sha256(b"\0".join(parts)).digest()


def _seal(key: bytes, graph: bytes) -> bytes:
    seal = hashlib.sha256(key)
    seal.update(graph)
    return seal.digest()
