"""Tiny packages for tests, made without an engine: real containers, manifests, weights and documents."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hyperion.domain.manifest import EngineRequirement, Entry, HistoryLine, Layer, LayerTensor, Manifest
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.format.archive import PendingEntry, write_archive
from hyperion.format.weights import WeightTensor, weights_entry

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 4)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 2)),),
)
ENGINE = EngineRequirement(minimum_version="1.20.0", opsets={"ai.onnx": 17}, operators=("ai.onnx::MatMul",))
TENSORS = {"fc.weight": bytes(range(32)), "fc.bias": bytes(range(8))}


def weights(tensors: Mapping[str, bytes] = TENSORS) -> bytes:
    """A weights entry of U8 tensors."""
    stored = [WeightTensor(name, "U8", (len(data),), len(data), partial(bytes, data)) for name, data in tensors.items()]
    with weights_entry(stored).open() as stream:
        return stream.read()


def entries(seed: int = 0) -> dict[str, bytes]:
    """The payloads of a good package; another seed gives other weights."""
    tensors = {name: bytes((byte + seed) % 256 for byte in data) for name, data in TENSORS.items()}
    return {
        "architecture.json": json.dumps({"nodes": [seed]}).encode(),
        "assets/README.md": b"# A tiny model\n",
        "config/optimization.json": b'{"threads":1}',
        "weights/layer0.weights": weights(tensors),
    }


def manifest(
    written: Mapping[str, Entry],
    *,
    name: str = "tiny",
    version: str = "1.0.0",
    signature: Signature = SIGNATURE,
    history: tuple[HistoryLine, ...] = (),
    engine: EngineRequirement = ENGINE,
    **fields: object,
) -> Manifest:
    """A manifest for these entries; the layer lists the tensors of TENSORS."""
    listed = tuple(LayerTensor(name=n, dtype="U8", shape=(len(d),), scheme="none") for n, d in TENSORS.items())
    layers = [
        Layer(index=index, name=f"layer{index}", entry=entry, tensors=listed)
        for index, entry in enumerate(sorted(entry for entry in written if entry.startswith("weights/")))
    ]
    return Manifest(
        format_version=1, name=name, version=version, signature=signature, engine=engine, layers=tuple(layers),
        entries=dict(written), history=history, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def package_bytes(payloads: Mapping[str, bytes] | None = None, **fields: object) -> bytes:
    """A package file in memory."""
    stream = io.BytesIO()
    pending = [
        PendingEntry(name, len(data), partial(io.BytesIO, data))
        for name, data in (entries() if payloads is None else payloads).items()
    ]
    write_archive(stream, pending, lambda written: manifest(written, **fields))  # type: ignore[arg-type]
    return stream.getvalue()


def write_package(path: Path, payloads: Mapping[str, bytes] | None = None, **fields: object) -> Path:
    """A package file."""
    path.write_bytes(package_bytes(payloads, **fields))
    return path


def write_directory(path: Path, payloads: Mapping[str, bytes] | None = None, **fields: object) -> Path:
    """The same package as an extracted directory."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(package_bytes(payloads, **fields))) as archive:
        archive.extractall(path)
    return path
