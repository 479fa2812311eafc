"""What is interrupted: packing, updating, signing, recovering and extracting."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import cast

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import MANIFEST, SIGNING, HistoryLine, Manifest
from hyperion.errors import MalformedPackageError
from hyperion.format.archive import ArchiveReader, PendingEntry, write_archive
from hyperion.format.manifest_json import manifest_bytes
from hyperion.format.update import Ending
from hyperion.usecases.extract import extract_model
from hyperion.usecases.version import recover_version
from tests.crash.disk import Tree, power_cuts, write_tree
from tests.crash.scenario import NAME, LostError, Scenario, judge_file, new_if
from tests.fakes.reporter import CollectingReporter
from tests.packages import entries, manifest, package_bytes, write_directory
from tests.partial_host import files_host

SIGNING_BYTES = b'{"signed":"' + b"s" * 900 + b'"}'


class Pack(Scenario):
    """A package is written to a name that is free, or holds an older package."""

    def __init__(self, *, over: bytes | None) -> None:
        self.name = "pack" if over is None else "pack over an old package"
        self._old = over
        self._new = package_bytes(large_entries(), version="2.0.0")

    def prepare(self, folder: Path) -> None:
        if self._old is not None:
            (folder / NAME).write_bytes(self._old)

    def run(self, folder: Path) -> None:
        pending = [PendingEntry(n, len(data), partial(io.BytesIO, data)) for n, data in large_entries().items()]
        with files_host(folder).files.replacing(folder / NAME) as stream:
            write_archive(stream, pending, partial(manifest, version="2.0.0"))

    def judge(self, tree: Tree, scratch: Path) -> str:
        found = cast("bytes | None", tree.get(NAME))
        if found == self._old:
            return "old" if found is not None else "absent"
        return new_if(found == self._new, self.name)


class Update(Scenario):
    """A manifest, a signing or both are changed within a package file, or in a copy that takes its name."""

    def __init__(
        self,
        name: str,
        old: bytes,
        change: Callable[[Manifest], Manifest],
        signing: bytes | None,
        *,
        linked: bool = False,
    ) -> None:
        self.name = name
        self.old = old
        self._change = change
        self._signing = signing
        self._linked = linked
        self.new = b""

    def prepare(self, folder: Path) -> None:
        (folder / NAME).write_bytes(self.old)
        if self._linked:
            (folder / "another name").hardlink_to(folder / NAME)

    def run(self, folder: Path) -> None:
        with LocalPackages().changing(folder / NAME) as change:
            change.put(manifest_bytes(self._change(change.package.manifest)), self._signing)

    def after(self, folder: Path) -> None:
        self.new = (folder / NAME).read_bytes()
        if self._linked and (folder / "another name").read_bytes() != self.old:
            raise LostError(f"{self.name}: the hard link does not hold the old package any more")

    def judge(self, tree: Tree, scratch: Path) -> str:
        return judge_file(cast("bytes", tree[NAME]), self.old, self.new, self.name)


class Recovery(Scenario):
    """What a power cut left of an update is repaired, and the power goes again."""

    def __init__(self, update: Update, *, finished: bool) -> None:
        self.name = f"recovery that {'finishes' if finished else 'takes back'} an update"
        self._update = update
        self._finished = finished

    def prepare(self, folder: Path) -> None:
        update = self._update
        disk, operations = update.record(Path(tempfile.mkdtemp(dir=folder.parent)) / "update")
        rng = random.Random(len(self.name))
        wanted = "finished" if self._finished else "taken back"
        while True:
            for tree in power_cuts(deepcopy(disk), operations, rng, 50):
                if update.judge(tree, folder) == f"recovered: {wanted}":
                    (folder / NAME).write_bytes(cast("bytes", tree[NAME]))
                    return

    def run(self, folder: Path) -> None:
        recover_version(files_host(folder), folder / NAME)

    def after(self, folder: Path) -> None:
        expected = self._update.new if self._finished else self._update.old
        if (folder / NAME).read_bytes() != expected:
            raise LostError(f"{self.name}: it made something else of the file")

    def judge(self, tree: Tree, scratch: Path) -> str:
        return judge_file(cast("bytes", tree[NAME]), self._update.old, self._update.new, self.name)


class UpdateDirectory(Scenario):
    """The same of a package directory, whose manifest and signing are two files."""

    def __init__(self, name: str, *, before: bytes | None, after: bytes | None, renewed: bool) -> None:
        self.name = name
        self._before, self._after = before, after
        self._renewed = renewed
        self._manifests: dict[bytes, str] = {}

    def prepare(self, folder: Path) -> None:
        write_directory(folder / "model")
        if self._before is not None:
            (folder / "model" / SIGNING).write_bytes(self._before)
        raw = (folder / "model" / MANIFEST).read_bytes()
        self._manifests[raw] = "old"

    def run(self, folder: Path) -> None:
        with LocalPackages().changing(folder / "model") as change:
            after = raised(change.package.manifest) if self._renewed else change.package.manifest
            change.put(manifest_bytes(after), self._after)

    def after(self, folder: Path) -> None:
        self._manifests.setdefault((folder / "model" / MANIFEST).read_bytes(), "new")

    def judge(self, tree: Tree, scratch: Path) -> str:
        write_tree(tree, scratch)
        host, path = files_host(scratch), scratch / "model"
        try:
            LocalPackages().open(path).close()
        except MalformedPackageError as refused:
            if refused.code != "package.update_interrupted":
                raise LostError(f"{self.name}: {refused}") from refused
            recover_version(host, path)
        with LocalPackages().open(path) as package:
            state = self._manifests.get(package.manifest_bytes)
            own = self._before if state == "old" else self._after
            if not self._renewed and package.signing in (self._before, self._after):
                return "new" if package.signing == self._after else "old"
            if state is None or package.signing not in (own, None):
                raise LostError(f"{self.name}: {state} manifest with another signing")
            return state if package.signing == own else f"{state}, unsigned"


class Extract(Scenario):
    """A package becomes a folder that was not there, or is added to one that holds a part of it."""

    def __init__(self, *, beside: bool) -> None:
        self.name = "extract" if not beside else "extract into a folder with files"
        self._beside = beside
        self._package = package_bytes(large_entries())
        with ArchiveReader(io.BytesIO(self._package), NAME, Path(NAME)) as package:
            self._files = {n: package.read(n) for n in package.names()} | {MANIFEST: package.manifest_bytes}

    def prepare(self, folder: Path) -> None:
        (folder / NAME).write_bytes(self._package)
        if self._beside:
            (folder / "model" / "assets").mkdir(parents=True)
            (folder / "model" / "assets" / "README.md").write_bytes(self._files["assets/README.md"])

    def run(self, folder: Path) -> None:
        extract_model(files_host(folder), folder / NAME, folder / "model", CollectingReporter())

    def judge(self, tree: Tree, scratch: Path) -> str:
        found = tree.get("model")
        if found is None:
            return "absent"
        write_tree(cast("Tree", found), scratch)
        present = {name: (scratch / name).read_bytes() for name in self._files if (scratch / name).exists()}
        if self._beside and MANIFEST not in present:
            wrong = [name for name, data in present.items() if data != self._files[name]]
            return new_if(not wrong, f"{self.name}: {wrong}", "old, with whole files of the new")
        with LocalPackages().open(scratch) as package:
            whole = all(digest_of(present[name]) == package.manifest.entries[name].digest for name in package.names())
        return new_if(whole and present == self._files, self.name)


def raised(before: Manifest, message: str = "") -> Manifest:
    """The next version, with a line of history."""
    line = HistoryLine(version="1.0.1", message=message)
    return before.model_copy(update={"version": "1.0.1", "history": (*before.history, line)})


def large_entries() -> dict[str, bytes]:
    """Payloads that take several writes."""
    return entries() | {"assets/large.txt": b"".join(b"line %d\n" % number for number in range(12_000))}


def all_scenarios() -> list[tuple[Scenario, int]]:
    """Every scenario and its share of the power cuts."""
    old, signed = package_bytes(), _signed(package_bytes())
    changes: list[tuple[str, bytes, Callable[[Manifest], Manifest], bytes | None]] = [
        ("update with a longer manifest", old, raised, None),
        ("update with a long message", old, partial(raised, message="why " * 2_000), None),
        ("update with a far longer manifest", old, partial(raised, message="x" * 300_000), None),
        ("update with a shorter manifest", package_bytes(description="d" * 9_000), _terse, None),
        ("update with a far shorter manifest", package_bytes(description="d" * 90_000), _terse, None),
        ("update with a manifest of the same length", old, partial(_described, text="b"), None),
        ("update of a signed package", signed, raised, None),
        ("update of a signed package, signed anew", signed, raised, SIGNING_BYTES + b" "),
        ("first signing", old, lambda manifest: manifest, SIGNING_BYTES),
        ("another signing", signed, lambda manifest: manifest, b"x" * 5_000),
    ]
    updates = [Update(*change) for change in changes]
    linked = Update("update of a hard link", old, raised, None, linked=True)
    return [
        *((update, 6) for update in updates),
        (linked, 4),
        (Recovery(Update(*changes[1]), finished=True), 5),
        (Recovery(Update(*changes[1]), finished=False), 2),
        (Pack(over=None), 7),
        (Pack(over=old), 7),
        (Extract(beside=False), 6),
        (Extract(beside=True), 4),
        (UpdateDirectory("directory: update", before=None, after=None, renewed=True), 2),
        (UpdateDirectory("directory: update, signed", before=b"a", after=b"b", renewed=True), 2),
        (UpdateDirectory("directory: signing", before=b"a", after=b"b", renewed=False), 1),
    ]


def _signed(data: bytes) -> bytes:
    with ArchiveReader(io.BytesIO(data), NAME, Path(NAME)) as package:
        ending = Ending(package.records(), package.manifest_bytes, SIGNING_BYTES)
    return data[: ending.begin] + ending.data


def _terse(before: Manifest) -> Manifest:
    return before.model_copy(update={"description": "d"})


def _described(before: Manifest, text: str) -> Manifest:
    return before.model_copy(update={"author": text})
