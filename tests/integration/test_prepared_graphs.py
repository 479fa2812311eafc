"""Prepared graphs: parsed once, believed only for the very files and software that they were made of."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.reporter import CollectingReporter
from tests.models import expected, inputs, mlp, write_model_dir
from tests.packaging import pack, packaging_host

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.engine.prepared_graphs import MAX_GRAPHS, PreparedGraphs, graph_key
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.format import file_state
from hyperion.usecases.extract import extract_model


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that no test waits two seconds."""
    monkeypatch.setattr(file_state, "SETTLED_NS", -(10**9))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pack(write_model_dir(tmp_path / "model"), tmp_path / "m.hyperion", "none")
    return tmp_path / "m.hyperion"


def answer(path: Path, state: Path) -> np.ndarray:
    with LocalPackages().open(path) as package:
        return OnnxRuntimeEngine(PreparedGraphs(state)).load(package).run({"x": inputs()})["probabilities"]


def kept(state: Path) -> list[Path]:
    return sorted((state / "graphs").iterdir()) if (state / "graphs").exists() else []


def key(path: Path, made_by: str = "a") -> bytes | None:
    with LocalPackages().open(path) as package:
        return graph_key(package, made_by)


def test_the_second_load_gives_the_same_answers_from_the_kept_graph(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(path, tmp_path / "state")
    monkeypatch.delattr("hyperion.adapters.engine.onnxruntime_engine.parse_architecture")

    second = answer(path, tmp_path / "state")

    assert len(kept(tmp_path / "state")) == 1
    assert np.array_equal(first, second)
    assert np.allclose(first, expected(mlp(), inputs()), atol=1e-6)


def test_a_graph_is_its_users_alone(path: Path, tmp_path: Path) -> None:
    answer(path, tmp_path / "state")
    (graph,) = kept(tmp_path / "state")

    assert graph.stat().st_mode & 0o777 == 0o600
    assert graph.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("position", [0, 40, -1])
def test_a_damaged_graph_is_none(path: Path, tmp_path: Path, position: int) -> None:
    state = tmp_path / "state"
    first = answer(path, state)
    (graph,) = kept(state)
    raw = bytearray(graph.read_bytes())
    raw[position] ^= 1
    graph.write_bytes(raw)

    assert PreparedGraphs(state).recall(bytes.fromhex(graph.name)) is None
    assert np.array_equal(answer(path, state), first)


def test_a_graph_under_the_name_of_another_is_none(path: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    answer(path, state)
    (graph,) = kept(state)
    other = b"\x01" * 32
    shutil.copy(graph, graph.with_name(other.hex()))

    assert PreparedGraphs(state).recall(other) is None


def test_a_graph_that_others_may_write_is_none(path: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    answer(path, state)
    (graph,) = kept(state)
    graph.chmod(0o622)

    assert PreparedGraphs(state).recall(bytes.fromhex(graph.name)) is None


def test_the_key_follows_package_place_file_and_software(path: Path, tmp_path: Path) -> None:
    extract_model(packaging_host(tmp_path), path, tmp_path / "tree", CollectingReporter())
    copy = Path(shutil.copy(path, tmp_path / "copy.hyperion"))
    before = key(path)
    keys = {before, key(path, "b"), key(tmp_path / "tree"), key(copy)}
    os.utime(path, ns=(1, 1))
    keys.add(key(path))

    assert len(keys) == 5
    assert None not in keys


def test_a_file_that_just_changed_has_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_state, "SETTLED_NS", 10**12)

    assert key(path) is None


def test_the_least_recently_used_graphs_make_room(tmp_path: Path) -> None:
    graphs = PreparedGraphs(tmp_path / "state")
    now = time.time_ns()
    for number in range(MAX_GRAPHS):
        graphs.remember(number.to_bytes(32, "big"), b"graph")
        os.utime(tmp_path / "state" / "graphs" / number.to_bytes(32, "big").hex(), ns=(now + number, now + number))

    graphs.remember(b"\xff" * 32, b"graph")

    assert graphs.recall((0).to_bytes(32, "big")) is None
    assert graphs.recall((1).to_bytes(32, "big")) == b"graph"
    assert len(kept(tmp_path / "state")) == MAX_GRAPHS


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(path: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"a file where the state folder should be")

    assert np.allclose(answer(path, tmp_path / "state"), expected(mlp(), inputs()), atol=1e-6)
