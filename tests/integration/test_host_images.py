"""Host images: built in a child, proven bit for bit, and never loaded once a byte of them changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.checks_host import checks_host
from tests.fakes.clock import FakeClock
from tests.fakes.proofs import InMemoryProofRecord
from tests.fakes.reporter import CollectingReporter
from tests.models import inputs, mlp, write_model_dir
from tests.packaging import pack, write_model

from hyperion.adapters.engine.host_images import LocalHostImages
from hyperion.adapters.engine.image_building import build_image
from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.files.tensor_file import save_tensors
from hyperion.adapters.sandbox.child_protocol import JobDocument, request_file
from hyperion.adapters.sandbox.child_sandbox import ChildSandbox
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConflictError, EngineError, HostError
from hyperion.format import file_state
from hyperion.format.package import PackageReader
from hyperion.ports import Array, BuiltImage, Host, Session, SessionOptions, Tensors
from hyperion.usecases.cache import ImageState, build_cache, clear_cache, prune_cache, read_cache
from hyperion.usecases.image import ensure_image

OPTIONS = SessionOptions()


@pytest.fixture(scope="module")
def package_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    path = folder / "m.hyperion"
    pack(write_model(folder / "model", mlp(hidden=256, gemm=False)), path, "none")
    return path


@pytest.fixture(scope="module")
def golden_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with one golden request."""
    folder = tmp_path_factory.mktemp("golden")
    path = folder / "m.hyperion"
    pack(write_model_dir(folder / "model"), path, "none")
    return path


@pytest.fixture(scope="module")
def built(package_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuiltImage]:
    """A state folder with one image, and the image."""
    state = tmp_path_factory.mktemp("built") / "state"
    with LocalPackages().open(package_path) as package:
        made = images(state).build(package_path, package, [{"x": inputs(4)}], OPTIONS, "a test's input")
    return state, made


@pytest.fixture
def state(built: tuple[Path, BuiltImage], tmp_path: Path) -> Path:
    """A state folder of one's own, with the image."""
    return Path(shutil.copytree(built[0], tmp_path / "state"))


@pytest.fixture
def made(built: tuple[Path, BuiltImage]) -> BuiltImage:
    return built[1]


def images(state: Path, limit_bytes: int = 2**30, proofs: InMemoryProofRecord | None = None) -> LocalHostImages:
    record = proofs or InMemoryProofRecord()
    return LocalHostImages(state, OnnxRuntimeEngine(), record, FakeClock(), ChildSandbox(), limit_bytes)


def place(state: Path, image: BuiltImage) -> Path:
    return state / "images" / image.image.removeprefix("sha256:")


def fault(state: Path, image: BuiltImage, proofs: InMemoryProofRecord | None = None) -> str | None:
    choice = images(state, proofs=proofs).choose(image.record.package, OPTIONS, {image.record.key: image.image})
    assert (choice.folder is None) is (choice.fault is not None)
    return choice.fault


def test_an_image_answers_bit_for_bit_as_the_package(package_path: Path, state: Path, made: BuiltImage) -> None:
    engine, x = OnnxRuntimeEngine(), {"x": inputs(7, seed=5)}
    with LocalPackages().open(package_path) as package:
        plain = engine.load(package).run(x)["probabilities"]
        loaded = engine.load_image(package, place(state, made)).run(x)["probabilities"]

    assert fault(state, made) is None
    assert np.array_equal(plain, loaded)


def test_an_image_is_its_users_alone_and_holds_what_its_record_says(state: Path, made: BuiltImage) -> None:
    folder = place(state, made)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert sorted(made.record.files) == ["graph.onnx", "weights.bin"]
    assert not list((state / "images").glob("new-*"))
    assert not list((state / "images").glob("hyperion-job-*"))


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def open_to_others(folder: Path) -> None:
    folder.chmod(0o755)


def link_instead(folder: Path) -> None:
    (folder / "weights.bin").rename(folder.parent / "elsewhere")
    (folder / "weights.bin").symlink_to(folder.parent / "elsewhere")


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit of the weights": (lambda folder: flip(folder / "weights.bin", 70_000), "weights.bin is damaged"),
    "one bit of the graph": (lambda folder: flip(folder / "graph.onnx", 100), "graph.onnx is damaged"),
    "one bit of the record": (lambda folder: flip(folder / "image.json", 30), "image.json is missing, damaged"),
    "cut weights": (lambda folder: os.truncate(folder / "weights.bin", 4096), "another length"),
    "no graph": (lambda folder: (folder / "graph.onnx").unlink(), "other files"),
    "one file more": (lambda folder: (folder / "more").write_bytes(b""), "other files"),
    "open to others": (open_to_others, "open to others"),
    "a link": (link_instead, "cannot be read"),
    "gone": (shutil.rmtree, "missing"),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_changed_image_is_refused_before_the_engine_sees_it(state: Path, made: BuiltImage, what: str) -> None:
    change, said = TAMPERINGS[what]

    change(place(state, made))

    assert said in str(fault(state, made))


def test_what_was_digested_once_is_read_again_only_after_a_change(
    state: Path, made: BuiltImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_state, "SETTLED_NS", -(10**18))  # every file counts as settled
    proofs = InMemoryProofRecord()
    assert fault(state, made, proofs=proofs) is None

    with monkeypatch.context() as reading:
        reading.delattr("hyperion.adapters.engine.image_files.file_digest")
        assert fault(state, made, proofs=proofs) is None
    flip(place(state, made) / "weights.bin", 70_000)

    assert "weights.bin is damaged" in str(fault(state, made, proofs=proofs))


def test_an_image_that_the_ledger_does_not_name_is_not_used(state: Path, made: BuiltImage) -> None:
    choice = images(state).choose(made.record.package, OPTIONS, {})

    assert choice.folder is None
    assert "no host image was built" in str(choice.fault)


def test_an_image_is_not_used_for_another_package_or_another_number_of_threads(state: Path, made: BuiltImage) -> None:
    other = "sha256:" + "1" * 64
    store = images(state)

    stolen = store.choose(other, OPTIONS, {store.key(other, OPTIONS): made.image})
    threads = store.choose(made.record.package, SessionOptions(threads=2), {made.record.key: made.image})

    assert "of another package" in str(stolen.fault)
    assert "another engine, CPU or number of threads" in str(threads.fault)


def test_another_engine_version_or_cpu_has_another_key(
    state: Path, made: BuiltImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperion.adapters.engine.host_images.cpu_features", lambda: ("sse2",))

    assert images(state).key(made.record.package, OPTIONS) != made.record.key


class Wrong:
    """A session that answers as the package does, but for one bit."""

    def __init__(self, session: Session) -> None:
        self.inputs, self.outputs, self._session = session.inputs, session.outputs, session

    def run(self, feeds: Tensors) -> dict[str, Array]:
        found = self._session.run(feeds)
        found["probabilities"].view(np.uint8)[0, 0] ^= 1
        return found


class WrongImages(OnnxRuntimeEngine):
    def load_image(self, package: PackageReader, folder: Path, options: SessionOptions = OPTIONS) -> Session:
        return Wrong(super().load_image(package, folder, options))


def test_an_image_from_before_an_operator_was_denied_has_another_key(
    state: Path, made: BuiltImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERION_DENIED_OPERATORS", "ai.onnx::Gemm")

    assert images(state).key(made.record.package, OPTIONS) != made.record.key


def test_an_image_that_answers_otherwise_in_one_bit_is_refused(package_path: Path, tmp_path: Path) -> None:
    job = JobDocument(
        parent=0, package="", requests=1, repeats=1, warmup=0, threads=1, keep_outputs=False, kept=None, unload=False,
        image=True, address_space_bytes=None, cpu_s=10,
    )  # fmt: skip
    save_tensors(tmp_path / request_file(0), {"x": inputs(2)})

    with LocalPackages().open(package_path) as package, pytest.raises(EngineError) as refusal:
        build_image(tmp_path, job, WrongImages(), package)

    assert refusal.value.code == "engine.image_differs"


def test_an_image_beyond_the_limit_is_not_even_begun(package_path: Path, tmp_path: Path) -> None:
    with LocalPackages().open(package_path) as package, pytest.raises(HostError) as refusal:
        images(tmp_path / "state", limit_bytes=1000).build(package_path, package, [], OPTIONS, "nothing")

    assert refusal.value.code == "image.limit"


def test_the_least_recently_used_image_makes_room(package_path: Path, state: Path, made: BuiltImage) -> None:
    with LocalPackages().open(package_path) as package:
        size = package.manifest.total_bytes
        other = images(state, limit_bytes=3 * size).build(
            package_path, package, [{"x": inputs(1)}], SessionOptions(threads=2), "another number of threads"
        )

    assert [kept.image for kept in images(state).kept()] == [other.image]


class TestTheCache:
    """What ``hyperion cache`` says and does."""

    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        return checks_host(tmp_path)

    @pytest.fixture
    def deployed(self, host: Host, package_path: Path, built: tuple[Path, BuiltImage]) -> Host:
        """A host whose store has the package, and an image of it that the ledger names."""
        with host.packages.open(package_path) as package:
            host.store.admit(package)
        shutil.copytree(built[0] / "images", host.state_dir / "images")
        data: dict[str, JsonValue] = {
            "image": built[1].image,
            "key": built[1].record.key,
            "package": built[1].record.package,
        }
        host.ledger.append(EventDraft(kind=EventKind.IMAGE_BUILT, actor="tests", data=data))
        return host

    def test_an_image_that_was_built_is_listed_and_not_built_again(self, host: Host, package_path: Path) -> None:
        with host.packages.open(package_path) as package:
            host.store.admit(package)
        config = DeploymentConfig(name="shop", image="on")

        made = ensure_image(host, package_path, config, CollectingReporter())

        assert made is not None
        assert [(image.image, image.state) for image in read_cache(host).images] == [(made.image, ImageState.USABLE)]
        assert ensure_image(host, package_path, config, CollectingReporter()) is None
        assert not build_cache(host, package_path, 1, CollectingReporter()).new

    def test_a_package_that_was_never_deployed_gets_no_image(self, host: Host, package_path: Path) -> None:
        with pytest.raises(ConflictError) as refusal:
            build_cache(host, package_path, 1, CollectingReporter())

        assert refusal.value.code == "image.not_deployed"

    def test_a_damaged_image_is_found_by_a_full_look_and_pruned(self, deployed: Host) -> None:
        (image,) = read_cache(deployed).images
        flip(deployed.state_dir / "images" / image.image.removeprefix("sha256:") / "weights.bin", 4000)

        found = read_cache(deployed, full=True)

        assert [faulty.reason for faulty in found.faulty] == [
            "weights.bin is damaged: its digest is not the one in image.json"
        ]

    def test_what_a_full_look_calls_faulty_is_what_pruning_removes(self, deployed: Host) -> None:
        (image,) = read_cache(deployed).images
        flip(deployed.state_dir / "images" / image.image.removeprefix("sha256:") / "weights.bin", 4000)

        removal = prune_cache(deployed)

        assert [(removed.image, removed.state) for removed in removal.images] == [(image.image, ImageState.FAULTY)]
        assert read_cache(deployed).images == ()

    def test_an_image_that_was_proven_on_one_golden_request_says_so(self, host: Host, golden_path: Path) -> None:
        with host.packages.open(golden_path) as package:
            host.store.admit(package)

        assert build_cache(host, golden_path, 1, CollectingReporter()).record.proof == "1 golden request"

    def test_images_that_no_worker_would_load_are_pruned(self, deployed: Host, tmp_path: Path) -> None:
        gone = replace(deployed, store=checks_host(_empty(tmp_path / "other")).store)

        removal = prune_cache(gone)

        assert [image.state for image in removal.images] == [ImageState.ORPHANED]
        assert removal.freed_bytes > 0
        assert read_cache(deployed).images == ()

    def test_what_is_usable_stays_unless_a_limit_is_given(self, deployed: Host) -> None:
        assert prune_cache(deployed).kept == 1
        assert prune_cache(deployed, limit_bytes=0).kept == 0

    def test_clearing_leaves_nothing(self, deployed: Host) -> None:
        clear_cache(deployed)

        assert read_cache(deployed).images_bytes == 0

    def test_an_image_that_cannot_be_built_is_a_warning_and_no_end(self, host: Host, package_path: Path) -> None:
        small = LocalHostImages(host.state_dir, host.engine, host.proofs, host.clock, host.sandbox, limit_bytes=1)
        reporter = CollectingReporter()

        made = ensure_image(
            replace(host, images=small), package_path, DeploymentConfig(name="shop", image="on"), reporter
        )

        assert made is None
        assert any("beyond the limit of all images" in warning for warning in reporter.warnings)


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
