"""One model directory makes one package: whoever packs it, wherever, and on whatever processor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.packaging import answers, cnn, fragile, pack, tensor, weight, write_model

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import GOLDEN_FOLDER, QUANTIZATION

SCHEMES = ("none", "int8", "mixed")
OVERRIDES = {"c1*": "static-int8", "fc*": "fp16", "table*": "w4", "proj*": "w8"}
"""What ``mixed`` says of single weights."""


def write_source(folder: Path) -> Path:
    """A model directory with something in every corner."""
    folder.mkdir(parents=True)
    onnx.save(mixed(), folder / "model.onnx", save_as_external_data=True, size_threshold=2000, location="weights.bin")
    (folder / "hyperion.json").write_text(json.dumps({"name": "mixed", "author": "Zoë", "tags": ["b", "a"]}))
    for name in ("README.md", "LICENSE", "assets/vocab.txt", "assets/deep/a.txt", "config/optimization.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith(".json") else name)
    (folder / "golden").mkdir()
    feeds = {"image": np.random.default_rng(5).normal(size=(2, 3, 8, 8)).astype(np.float32), "ids": np.array([[1, 2]])}
    for name in ("second", "first"):
        np.savez(folder / "golden" / f"{name}.npz", **feeds, **answers(mixed(), feeds))  # type: ignore[arg-type]
    np.savez(folder / "golden" / "silent.npz", **feeds)  # type: ignore[arg-type]
    return folder


def mixed() -> onnx.ModelProto:
    """Convolutions, a transposed Gemm with alpha, an embedding table; weights from subnormal to huge; a default."""
    model = cnn()
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    gemm.attribute.append(helper.make_attribute("alpha", 0.3))
    for initializer in model.graph.initializer:
        if initializer.name == "c2.weight":
            values = numpy_helper.to_array(initializer).copy()
            values[0] *= np.float32(1e-41)  # subnormal
            values[1] *= np.float32(1e30)
            values[2] = 0
            initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    node = helper.make_node
    model.graph.node.extend([
        node("Gather", ["table", "ids"], ["rows"], "embed"),
        node("ReduceMean", ["rows"], ["mean"], "mean", axes=[1], keepdims=0),
        node("MatMul", ["mean", "proj.weight"], ["projected"], "proj"),
        node("Mul", ["projected", "scale"], ["embedding"], "scaling"),
    ])  # fmt: skip
    scale = numpy_helper.from_array(np.ones(1, np.float32), "scale")
    model.graph.initializer.extend([weight("table", 50, 64), weight("proj.weight", 64, 64), scale])
    model.graph.input.extend([tensor("ids", "m", "sequence", kind=TensorProto.INT64), tensor("scale", 1)])
    model.graph.output.append(tensor("embedding", "m", 64))
    return model


def other_copy(source: Path, folder: Path) -> Path:
    """The same files, made in the opposite order, with other times and permissions."""
    for path in sorted((path for path in source.rglob("*") if path.is_file()), reverse=True):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o600)
        os.utime(target, (1_000_000_000, 1_000_000_000))
    return folder


def package(
    source: Path, output: Path, scheme: str, variables: Mapping[str, str], *, umask: int = 0o022, one_core: bool = False
) -> bytes:
    """The package that the CLI makes in the folder of ``output`` with these variables."""
    if scheme == "mixed":
        source, scheme = with_overrides(source, output.parent / "mixed"), "int8"
    words = ["package", "model", "--input", str(source), "--output", str(output), "--quantize", scheme]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hyperion", *words], cwd=output.parent, umask=umask, capture_output=True,
        env={**os.environ, "HYPERION_HOME": str(output.parent / "home"), **variables}, text=True, check=False,
        preexec_fn=_keep_one_core if one_core else None, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output.read_bytes()


def with_overrides(source: Path, folder: Path) -> Path:
    """A copy of a model directory, with a scheme of its own for most weights, and rows to calibrate on."""
    shutil.copytree(source, folder)
    random = np.random.default_rng(1)
    images, ids = random.normal(size=(40, 3, 8, 8)).astype(np.float32), random.integers(0, 50, (40, 4))
    (folder / "rows").mkdir()
    np.savez(folder / "rows" / "rows.npz", image=images, ids=ids)
    overrides = [{"match": match, "scheme": scheme} for match, scheme in OVERRIDES.items()]
    policy = {"data": {"folder": "rows"}, "overrides": overrides}
    (folder / "config" / "quantization.json").write_text(json.dumps(policy))
    return folder


def _keep_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def plain_processor() -> dict[str, str]:
    """Variables that take from numpy, its linear algebra and the C library all that is not in every processor."""
    loops: Any = import_module("numpy._core._multiarray_umath")

    found = [name for name in loops.__cpu_dispatch__ if loops.__cpu_features__[name]]
    plain = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX"
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(found), "OPENBLAS_CORETYPE": "Prescott", "GLIBC_TUNABLES": plain,
    }  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "model")


@pytest.fixture(scope="module")
def reference(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The package of each scheme, made here and now."""
    folder = tmp_path_factory.mktemp("reference")
    return {scheme: package(source, folder / f"{scheme}.hyperion", scheme, {}) for scheme in SCHEMES}


def test_a_mixed_package_has_every_scheme(reference: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "m.hyperion").write_bytes(reference["mixed"])

    with LocalPackages().open(tmp_path / "m.hyperion") as package:
        found = {tensor.scheme for layer in package.manifest.layers for tensor in layer.tensors}

    assert found == {"none", "int8", *OVERRIDES.values()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_surroundings_leave_no_trace(scheme: str, source: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    copy = other_copy(source, tmp_path / "elsewhere" / "copy")
    variables = {
        "PYTHONHASHSEED": "4711", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C", "HOME": str(tmp_path),
        "USER": "somebody", "LOGNAME": "somebody", "HOSTNAME": "elsewhere", "OMP_NUM_THREADS": "1",
        "SOURCE_DATE_EPOCH": "1",
    }  # fmt: skip

    found = package(copy, tmp_path / "m.hyperion", scheme, variables, umask=0o077, one_core=True)

    assert found == reference[scheme]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_processor_makes_the_same_bytes(
    scheme: str, source: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    found = package(source, tmp_path / "m.hyperion", scheme, plain_processor())

    assert found == reference[scheme]


ROUNDED = """
import hashlib, sys
import numpy as np
from hyperion.quantization.distortion import Tally
from hyperion.quantization.rounding import int8_by_axis, w4_blocks, w8_blocks

random, found = np.random.default_rng(0), hashlib.sha256()
for number in range(200):
    shape = tuple(random.integers(1, 90, 2))
    scale = 10.0 ** random.uniform(-44, 37, (shape[0], 1))
    weight = (random.normal(size=shape) * scale).astype(np.float32)
    weight[random.uniform(size=shape) < 0.05] = random.choice([0.0, -0.0, 1.0, -64.5, 3.4028235e38, 1e-45])
    with np.errstate(all="ignore"):
        blocks = w4_blocks(weight)
        loose = w8_blocks(weight)
        parts = [*int8_by_axis(weight, number % 2, 64), *int8_by_axis(weight, number % 2, 127)]
        parts.append(weight.astype(np.float16))
        tally = Tally()
        usual = np.clip(weight, -1e37, 1e37)
        tally.add(usual, w8_blocks(usual).restored(shape[1]))
    for part in [*parts, blocks.values, blocks.scales, blocks.zero_points, loose.values, loose.scales]:
        found.update(part.tobytes())
    found.update(repr(tally.result()).encode())
print(found.hexdigest())
"""


def test_rounding_is_the_same_without_any_vector_instructions() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", ROUNDED], env={**os.environ, **variables}, capture_output=True, text=True, check=True
        ).stdout
        for variables in ({}, plain_processor())
    }

    assert len(digests) == 1


class TestWhatIsMeasured:
    """Figures of the engine, whose last digits are the machine's own."""

    @pytest.mark.parametrize("scheme", ["none", "int8", "w4", "auto"])
    def test_no_figure_is_in_the_package(self, scheme: str, source: Path, tmp_path: Path) -> None:
        pack(source, tmp_path / "m.hyperion", scheme)

        with LocalPackages().open(tmp_path / "m.hyperion") as package:
            documents = [QUANTIZATION, f"{GOLDEN_FOLDER}first.json", f"{GOLDEN_FOLDER}silent.json"]
            read = {name: json.loads(package.read(name)) for name in documents}
        fractions = {name: list(numbers(document)) for name, document in read.items()}
        rule = [1e-4, 0.001] if read[QUANTIZATION]["scheme"] == "none" else [1e-4, {"w4": 0.3}.get(scheme, 0.15)]
        assert fractions == {QUANTIZATION: [], f"{GOLDEN_FOLDER}first.json": rule, f"{GOLDEN_FOLDER}silent.json": rule}

    def test_the_reason_for_what_auto_left_in_float_has_no_figure(self, tmp_path: Path) -> None:
        summary = pack(write_model(tmp_path / "d", fragile()), tmp_path / "m.hyperion", "auto")

        with LocalPackages().open(tmp_path / "m.hyperion") as package:
            record = json.loads(package.read(QUANTIZATION))
        assert summary.shortfall is not None
        assert list(numbers(record)) == []
        assert "%" not in json.dumps(record)


EXACT = ("sqnr_db", "cosine")
"""Figures of a weight alone, by sums that are the same on every machine."""


def numbers(value: Any) -> Iterator[float]:
    """All fractions in a document that may have been measured."""
    if isinstance(value, float):
        yield value
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key not in EXACT]
    for item in value if isinstance(value, list) else ():
        yield from numbers(item)
