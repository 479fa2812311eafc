"""What every form of a package promises to a program that looks into it: views in place, read-only, without reading."""

from __future__ import annotations

import gc
import io
import mmap
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.packages import ENGINE, SIGNATURE, entries, package_bytes, write_directory, write_package

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.domain.manifest import Layer, LayerTensor, Manifest
from hyperion.errors import MalformedPackageError, NotFoundError
from hyperion.format.archive import PendingEntry, write_archive
from hyperion.format.package import PackageReader
from hyperion.format.weights import WeightTensor, weights_entry

WEIGHTS = "weights/layer0.weights"
FORMS = ["file", "directory", "store"]
ARRAYS = {
    "a": ("F32", np.arange(6, dtype="<f4").reshape(2, 3)),
    "b": ("F16", np.arange(3, dtype="<f2")),
    "c": ("I8", np.array(7, "i1")),
    "d": ("BOOL", np.array([True, False])),
    "e": ("F64", np.zeros((0, 4))),
    "f": ("C64", np.array([1 + 2j], "<c8")),
}


def write_form(form: str, folder: Path, data: bytes) -> PackageReader:
    """A package of these bytes, opened in one of the three forms."""
    path = folder / "p.hyperion"
    path.write_bytes(data)
    if form == "file":
        return LocalPackages().open(path)
    if form == "directory":
        import zipfile

        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / "tree")
        return LocalPackages().open(folder / "tree")
    store = LocalPackageStore(folder / "state", AtomicFiles())
    with LocalPackages().open(path) as package:
        return store.open(store.admit(package))


def package_of(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], scheme: str = "none") -> bytes:
    """A package with one layer of these tensors: dtype, shape, data."""
    stored = [
        WeightTensor(name, dtype, shape, len(data), partial(bytes, data))
        for name, (dtype, shape, data) in tensors.items()
    ]
    listed = tuple(LayerTensor(name=name, dtype=t[0], shape=t[1], scheme=scheme) for name, t in tensors.items())
    layout, stream = weights_entry(stored), io.BytesIO()
    write_archive(
        stream,
        [
            PendingEntry("architecture.json", 2, lambda: io.BytesIO(b"{}")),
            PendingEntry(WEIGHTS, layout.size_bytes, layout.open),
        ],
        lambda written: Manifest(
            format_version=1, name="tiny", version="1.0.0", signature=SIGNATURE, engine=ENGINE, entries=dict(written),
            layers=(Layer(index=0, name="fc", entry=WEIGHTS, tensors=listed),),
        ),
    )  # fmt: skip
    return stream.getvalue()


def address(view: memoryview) -> int:
    return np.frombuffer(view, "u1").__array_interface__["data"][0]  # type: ignore[no-any-return]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(params=FORMS)
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> PackageReader:
    return write_form(request.param, tmp_path, package_bytes(entries() | {"assets/empty": b""}))


@pytest.fixture(params=FORMS)
def typed(request: pytest.FixtureRequest, tmp_path: Path) -> PackageReader:
    data = package_of({name: (dtype, array.shape, array.tobytes()) for name, (dtype, array) in ARRAYS.items()})
    return write_form(request.param, tmp_path, data)


def test_every_entry_is_seen_whole(tiny: PackageReader) -> None:
    with tiny as package:
        assert {name: bytes(package.view(name)) for name in entries()} == entries()
        assert bytes(package.view("assets/empty")) == b""


def test_a_view_is_read_only_and_of_the_mapping(tiny: PackageReader) -> None:
    with tiny as package:
        view = package.view(WEIGHTS)

        assert view.readonly
        assert isinstance(view.obj, mmap.mmap)
        with pytest.raises(TypeError):
            view[0] = 0  # type: ignore[index]


def test_two_views_of_an_entry_are_the_same_memory(tiny: PackageReader) -> None:
    with tiny as package:
        assert address(package.view(WEIGHTS)) == address(package.view(WEIGHTS))


def test_a_view_outlives_its_package(tiny: PackageReader) -> None:
    with tiny as package:
        view = package.view(WEIGHTS)
    gc.collect()

    assert bytes(view) == entries()[WEIGHTS]


def test_descriptors_are_free_when_the_views_are_gone(tiny: PackageReader) -> None:
    with tiny as package:
        before = open_descriptors()
        views = [package.view(name) for name in entries()]
        del views

        assert open_descriptors() == before


def test_an_unknown_entry_is_not_found(tiny: PackageReader) -> None:
    with tiny as package, pytest.raises(NotFoundError):
        package.view("assets/none")


def test_tensors_are_listed_without_padding_in_the_order_of_the_manifest(typed: PackageReader) -> None:
    with typed as package:
        found = package.tensors()

        assert [(t.name, t.dtype, t.shape) for t in found] == [(n, d, a.shape) for n, (d, a) in ARRAYS.items()]
        assert {(t.layer, t.entry, t.scheme) for t in found} == {("fc", WEIGHTS, "none")}


def test_arrays_have_their_values_and_lie_in_the_mapping(typed: PackageReader) -> None:
    with typed as package:
        whole = np.frombuffer(package.view(WEIGHTS), "u1")
        for tensor in package.tensors():
            array, (_, expected) = tensor.numpy(), ARRAYS[tensor.name]

            assert np.array_equal(array, expected)
            assert array.dtype == expected.dtype
            assert not array.flags.writeable
            assert array.size == 0 or np.shares_memory(array, whole)


def test_tensors_begin_at_multiples_of_64_in_memory(typed: PackageReader) -> None:
    with typed as package:
        assert [address(t.data) % 64 for t in package.tensors() if len(t.data)] == [0] * 5


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "found"),
    [("BF16", (2, 3), 12, (2, 3, 2)), ("F8_E4M3", (2, 3), 6, (2, 3)), ("U8", (2, 3), 6, (2, 3))],
)
def test_what_numpy_has_no_type_for_comes_as_bytes(
    dtype: str, shape: tuple[int, ...], size: int, found: tuple[int, ...], tmp_path: Path
) -> None:
    data = package_of({"t": (dtype, shape, bytes(range(size)))}, scheme="w4")

    with write_form("file", tmp_path, data) as package:
        array = package.tensors()[0].numpy()

    assert (array.dtype, array.shape) == (np.uint8, found)
    assert array.tobytes() == bytes(range(size))


def test_opening_and_listing_reads_no_payload(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    with LocalPackages().open(path) as package:
        payloads = [package.locate(name) for name in package.names()]
    data = bytearray(path.read_bytes())
    for place in payloads:
        data[place.offset : place.offset + place.size_bytes] = bytes(place.size_bytes)
    path.write_bytes(data)

    with LocalPackages().open(path) as package:
        assert [tensor.name for tensor in package.tensors()] == ["fc.weight", "fc.bias"]
        with pytest.raises(MalformedPackageError):
            package.tensors()[0].data  # noqa: B018


def test_a_closed_package_file_gives_nothing_more(tmp_path: Path) -> None:
    package = LocalPackages().open(write_package(tmp_path / "p"))
    tensor = package.tensors()[0]
    package.close()

    for look in (
        lambda: package.view(WEIGHTS),
        lambda: tensor.data,
        lambda: package.read(WEIGHTS),
        lambda: package.open(WEIGHTS),
    ):
        with pytest.raises(ValueError, match="closed") as refused:
            look()
        assert str(refused.value) == f"{tmp_path}/p: the package is closed"


@pytest.mark.parametrize("form", FORMS)
def test_an_entry_that_is_not_there_is_named(form: str, tmp_path: Path) -> None:
    with write_form(form, tmp_path, package_bytes()) as package:
        for look in (package.read, package.open, package.view):
            with pytest.raises(NotFoundError) as refused:
                look("weights/none")
            assert (refused.value.code, refused.value.entry) == ("package.entry_not_found", "weights/none")


@pytest.mark.parametrize("write", [write_package, write_directory])
def test_a_file_that_became_shorter_is_refused_before_it_is_mapped(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "p")
    with LocalPackages().open(path) as package:
        os.truncate(package.locate(WEIGHTS).path, 16)

        with pytest.raises(MalformedPackageError) as refused:
            package.view(WEIGHTS)

    assert refused.value.code == "package.size_mismatch"
