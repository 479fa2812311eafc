"""All hostile models, and mutations of a good one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile import models_graphs, models_runs, models_tensors
from tests.hostile.models_craft import HostileModel
from tests.models import mlp

FAMILIES = (
    models_graphs.files, models_graphs.versions, models_graphs.operators, models_graphs.wirings, models_graphs.depths,
    models_graphs.functions, models_graphs.folders, models_tensors.shapes, models_tensors.places,
    models_tensors.sharing, models_tensors.sparse, models_tensors.blocks, models_runs.loops, models_runs.operators,
)  # fmt: skip
SEED = 4


def crafted() -> Iterator[HostileModel]:
    for family in FAMILIES:
        yield from family()


def mutated_sources(count: int) -> Iterator[HostileModel]:
    """A good model with some bytes changed, mostly where its structure is."""
    good = bytes(mlp(0, hidden=8).SerializeToString())
    random_source = random.Random(SEED)
    for index in range(count):
        data = bytearray(good)
        for _ in range(random_source.choice((1, 1, 2, 8))):
            position = random_source.randrange(len(data))
            data[position] = random_source.choice(
                (0, 1, 0x7F, 0x80, 0xFF, data[position] ^ 1 << random_source.randrange(8))
            )
        if index % 5 == 4:
            begin, length = random_source.randrange(len(data)), random_source.randrange(1, 64)
            data[begin : begin + length] = data[:length] if index % 2 else b""
        yield HostileModel(f"mutation {index} of a source", _writing(bytes(data)))


def _writing(data: bytes) -> Any:
    return lambda folder: (folder / "model.onnx").write_bytes(data)


def mutated_architectures(good: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """A good architecture.json with some of its values changed, kept well-formed."""
    random_source = random.Random(SEED)
    for index in range(count):
        document = json.loads(good)
        for _ in range(random_source.choice((1, 1, 2, 4))):
            _change(document["model"], random_source)
        yield f"mutation {index} of an architecture", json.dumps(document).encode()


_VALUES: tuple[Any, ...] = (
    None, "", "x", "-1", "0", str(2**62), str(2**70), -1, 0, 1, 2**31, 1e308, "NaN", [], {}, [[]], True,
    "weights/../manifest.json", "../../etc/passwd", "AAAA", "model.onnx",
)  # fmt: skip


def _change(value: Any, chooser: random.Random) -> None:
    """Walk down at random and change what is found there."""
    while True:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chooser.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and chooser.random() < 0.9:
            value = inner
            continue
        action = chooser.randrange(4)
        if action == 0:
            del value[key]
        elif action == 1 and isinstance(value, list):
            value.insert(key, inner)
        elif action == 2 and isinstance(value, dict):
            value[chooser.choice(("location", "tensor", "dims", "data_type", "op_type", "prepacked_0", "g"))] = inner
        else:
            value[key] = chooser.choice(_VALUES)
        return


def good_architecture(folder: Path) -> bytes:
    return (folder / "architecture.json").read_bytes()
