"""Hostile models: all of them through the reader, a sample the whole way; `make hostile-models` takes all that way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion.adapters.onnx.source import read_source
from hyperion.errors import HyperionError
from tests.hostile.models_corpus import crafted, mutated_sources
from tests.hostile.models_trial import sources, try_all

SAMPLE = ("functions that grow to 2^40 nodes", "a part that is a pipe", "Div #23, at run time")


def test_every_crafted_model_is_read_or_refused_by_a_typed_error(tmp_path: Path) -> None:
    wrong = {}

    for index, model in enumerate([*crafted(), *mutated_sources(100)]):
        folder = tmp_path / str(index)
        folder.mkdir()
        model.write(folder)
        code = _code_of(folder / "model.onnx")
        if model.code is not None and code != model.code:
            wrong[model.name] = code

    assert wrong == {}


def _code_of(model: Path) -> str | None:
    try:
        read_source(model)
    except HyperionError as error:
        return error.code
    return None


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    names = [model.name for model in crafted()]

    assert len(names) >= 80
    assert len(set(names)) == len(names)


@pytest.mark.timeout(120)
def test_the_caller_survives_a_sample(tmp_path: Path) -> None:
    chosen = [model for model in crafted() if model.name in SAMPLE]

    found = try_all(sources(chosen, tmp_path), tmp_path)

    assert found.faults == []
    assert found.models == len(SAMPLE)
