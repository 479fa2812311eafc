"""What every implementation of ports.PackageStore promises: written once, verified, never changed."""

from __future__ import annotations

import fcntl
import io
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.hostile.corpus import patched, records_of
from tests.packages import entries, package_bytes, write_directory, write_package
from tests.small_disk import small_disk

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.errors import DigestMismatchError, HostError, NotFoundError
from hyperion.format.archive import ArchiveReader
from hyperion.format.archive_writer import write_end
from hyperion.format.package import PackageReader
from hyperion.ports import PackageStore

MISSING = "sha256:" + "0" * 64


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> PackageStore:
    return LocalPackageStore(home, AtomicFiles())


def in_memory(data: bytes) -> PackageReader:
    return ArchiveReader(io.BytesIO(data), "memory", Path("/nowhere"))


def test_a_package_is_admitted_after_somebody_removed_the_folder_of_blobs(store: PackageStore, home: Path) -> None:
    digest = store.admit(in_memory(package_bytes()))
    shutil.rmtree(home / "blobs")

    assert store.admit(in_memory(package_bytes())) == digest
    assert store.has(digest)


def test_an_admitted_package_is_opened_with_the_same_bytes(store: PackageStore) -> None:
    package = in_memory(package_bytes())

    digest = store.admit(package)

    assert digest == package.digest
    assert store.has(digest)
    with store.open(digest) as stored:
        assert stored.digest == digest
        assert stored.manifest == package.manifest
        assert stored.manifest_bytes == package.manifest_bytes
        assert stored.names() == package.names()
        for name, data in entries().items():
            location = stored.locate(name)
            assert stored.read(name) == data
            assert location.path.read_bytes()[location.offset :][: location.size_bytes] == data


def test_a_package_that_was_never_admitted_is_not_found(store: PackageStore, tmp_path: Path) -> None:
    assert not store.has(MISSING)
    for ask in (lambda: store.open(MISSING), lambda: store.export(MISSING, tmp_path / "x")):
        with pytest.raises(NotFoundError) as refused:
            ask()
        assert refused.value.code == "store.package_not_found"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("write", [write_package, write_directory])
def test_every_form_is_exported_to_the_very_bytes_of_the_file(
    write: Callable[[Path], Path], store: PackageStore, tmp_path: Path
) -> None:
    with LocalPackages().open(write(tmp_path / "given")) as package:
        digest = store.admit(package)

    store.export(digest, tmp_path / "exported.hyperion")

    assert (tmp_path / "exported.hyperion").read_bytes() == package_bytes()


def test_a_package_is_exported_as_a_directory_of_read_only_files(store: PackageStore, tmp_path: Path) -> None:
    digest = store.admit(in_memory(package_bytes()))
    (tmp_path / "tree").mkdir()

    assert store.export_tree(digest, tmp_path / "tree", {}) == 0

    with LocalPackages().open(tmp_path / "tree") as package:
        assert package.digest == digest
        assert {name: package.read(name) for name in package.names()} == entries()
    files = [path for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}
    assert {path.stat().st_nlink for path in files} == {1}


@pytest.mark.parametrize("fit", ["", "writable", "another size", "link", "absent"])
def test_a_file_of_the_same_digest_is_shared_where_it_cannot_be_changed(
    store: PackageStore, tmp_path: Path, fit: str
) -> None:
    digest = store.admit(in_memory(package_bytes()))
    data, lent = entries()["weights/layer0.weights"], tmp_path / "lent"
    lent.write_bytes(data + b"x" if fit == "another size" else data)
    lent.chmod(0o644 if fit == "writable" else 0o444)
    if fit == "link":
        (tmp_path / "link").symlink_to(lent)
        lent = tmp_path / "link"
    elif fit == "absent":
        lent.unlink()
    (tmp_path / "tree").mkdir()
    with store.open(digest) as package:
        shared = {package.manifest.entries["weights/layer0.weights"].digest: lent}

    linked = store.export_tree(digest, tmp_path / "tree", shared)

    written = tmp_path / "tree" / "weights" / "layer0.weights"
    assert written.read_bytes() == data
    assert (linked, written.stat().st_nlink) == ((len(data), 2) if fit == "" else (0, 1))


def test_admitting_again_reads_nothing(store: PackageStore) -> None:
    seen: list[int] = []
    store.admit(in_memory(package_bytes()), seen.append)
    first = sum(seen)

    store.admit(in_memory(package_bytes()), seen.append)

    assert first == sum(len(data) for data in entries().values())
    assert sum(seen) == first


def test_shared_entries_are_kept_once(store: PackageStore, home: Path) -> None:
    seen: list[int] = []
    store.admit(in_memory(package_bytes()))
    before = len(list((home / "blobs" / "sha256").iterdir()))

    store.admit(in_memory(package_bytes(version="1.0.1")), seen.append)

    assert seen == []
    assert len(list((home / "blobs" / "sha256").iterdir())) == before + 1


def test_two_entries_with_the_same_bytes_share_a_blob(store: PackageStore) -> None:
    payloads = entries() | {"assets/copy.md": entries()["assets/README.md"]}

    digest = store.admit(in_memory(package_bytes(payloads)))

    assert store.open(digest).locate("assets/copy.md") == store.open(digest).locate("assets/README.md")


def test_blobs_are_read_only_files_named_by_their_digest(store: PackageStore, home: Path) -> None:
    digest = store.admit(in_memory(package_bytes()))

    blobs = home / "blobs" / "sha256"
    assert (blobs / digest.removeprefix("sha256:")).is_file()
    assert all(stat.S_IMODE(blob.stat().st_mode) == 0o444 for blob in blobs.iterdir())


def test_nothing_of_a_damaged_package_is_kept(store: PackageStore, home: Path) -> None:
    good = package_bytes()
    position = records_of(good)["weights/layer0.weights"].payload_offset + 200
    damaged = in_memory(patched(good, position, bytes([good[position] ^ 1])))

    with pytest.raises(DigestMismatchError) as refused:
        store.admit(damaged)

    assert refused.value.entry == "weights/layer0.weights"
    assert not store.has(damaged.digest)
    assert list((home / "blobs" / "sha256").iterdir()) == []
    assert list((home / "tmp").glob("blob-*")) == []


def test_the_signing_of_a_damaged_package_is_not_kept_either(store: PackageStore, home: Path) -> None:
    signed = io.BytesIO()
    with in_memory(package_bytes()) as package:
        records, begin = package.records(), package.signing_offset  # type: ignore[attr-defined]
        signed.write(package_bytes()[:begin])
        write_end(signed, records, package.manifest_bytes, b"{}")
    data = signed.getvalue()
    position = records_of(data)["weights/layer0.weights"].payload_offset + 200

    with pytest.raises(DigestMismatchError):
        store.admit(in_memory(patched(data, position, bytes([data[position] ^ 1]))))
    digest = store.admit(in_memory(package_bytes()))

    assert store.open(digest).signing is None
    assert not (home / "signings").exists()


def test_an_interrupt_leaves_nothing_behind(store: PackageStore, home: Path) -> None:
    def interrupt(amount: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.admit(in_memory(package_bytes()), interrupt)

    assert list((home / "blobs" / "sha256").iterdir()) == []
    assert list((home / "tmp").glob("blob-*")) == []


def test_a_damaged_store_says_so_and_heals_when_the_package_comes_again(store: PackageStore, home: Path) -> None:
    package = in_memory(package_bytes())
    digest = store.admit(package)
    lost = store.open(digest).locate("assets/README.md").path
    lost.unlink()

    with pytest.raises(HostError) as refused:
        store.open(digest)
    store.admit(package)

    assert refused.value.code == "store.blob_missing"
    assert store.open(digest).read("assets/README.md") == entries()["assets/README.md"]


def test_a_damaged_blob_is_told_when_it_is_read(store: PackageStore) -> None:
    digest = store.admit(in_memory(package_bytes()))
    blob = store.open(digest).locate("assets/README.md").path
    blob.chmod(0o644)
    blob.write_bytes(b"# A tiny mode1\n")

    with pytest.raises(DigestMismatchError):
        store.open(digest).read("assets/README.md")


def test_a_damaged_manifest_is_told(store: PackageStore, home: Path) -> None:
    digest = store.admit(in_memory(package_bytes()))
    blob = home / "blobs" / "sha256" / digest.removeprefix("sha256:")
    blob.chmod(0o644)
    blob.write_bytes(b"{}")

    with pytest.raises(DigestMismatchError, match="manifest"):
        store.open(digest)


def test_leftovers_are_swept_at_the_next_admission_but_not_under_a_living_writer(
    store: PackageStore, home: Path
) -> None:
    package = in_memory(package_bytes(entries()))
    store.admit(package)
    leftover = home / "tmp" / "blob-dead"
    leftover.touch()

    with (home / "tmp" / "store.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        LocalPackageStore(home, AtomicFiles()).admit(package)
        assert leftover.exists()
    LocalPackageStore(home, AtomicFiles()).admit(package)

    assert not leftover.exists()


def test_looking_into_a_store_that_is_not_there_leaves_no_trace(tmp_path: Path) -> None:
    store = LocalPackageStore(tmp_path / "home", AtomicFiles())

    assert not store.has("sha256:" + "0" * 64)
    assert not (tmp_path / "home").exists()


def test_a_full_disk_is_told_before_anything_is_copied(tmp_path: Path) -> None:
    package = in_memory(package_bytes(entries() | {"assets/big": bytes(4 << 20)}))
    seen: list[int] = []

    with small_disk(tmp_path / "small") as home:
        store = LocalPackageStore(home, AtomicFiles())
        with pytest.raises(HostError, match=r"\d+ bytes needed, \d+ free") as refused:
            store.admit(package, seen.append)

        assert refused.value.code == "host.no_space"
        assert seen == []
        assert list((home / "blobs" / "sha256").iterdir()) == []


def test_two_writers_of_one_package_do_not_disturb_each_other(home: Path) -> None:
    data = package_bytes(entries() | {f"assets/{number}": bytes([number]) * 100_000 for number in range(20)})
    stores = [LocalPackageStore(home, AtomicFiles()) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda store: store.admit(in_memory(data)), stores))

    (digest,) = digests
    with stores[0].open(digest) as package:
        assert all(package.read(name) for name in package.names())
    assert list((home / "tmp").glob("blob-*")) == []
