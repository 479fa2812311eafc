"""Binary tensors through real workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests import models
from tests.worker_kit import INFER, Pair, pair_of_workers

X = models.inputs(rows=3, seed=3)


@pytest.fixture(scope="module")
def shared(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_workers(tmp_path_factory.mktemp("binary"), packages) as pair:
        yield pair


@pytest.fixture
def pair(shared: Pair) -> Pair:
    """v1 accepts as revision 1 and forwards nothing; v2 answers frames as revision 2."""
    shared.reset()
    return shared


def ask(pair: Pair, **extra: object) -> httpx.Response:
    """One request with X as bytes; outputs as bytes too."""
    tensor = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "parameters": {"binary_data_size": X.nbytes}}
    document = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}, **extra}).encode()
    length = {"Inference-Header-Content-Length": str(len(document))}
    return httpx.post(pair.kit.url + INFER, content=document + X.tobytes(), headers=length, trust_env=False)


def probabilities(answer: httpx.Response) -> np.ndarray:
    """The one output of a binary answer."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": len(answer.content) - length}
    return np.frombuffer(answer.content[length:], np.float32).reshape(output["shape"])


def test_bytes_are_answered_in_bytes_with_the_models_values(pair: Pair) -> None:
    np.testing.assert_allclose(probabilities(ask(pair)), models.expected(models.mlp(0), X), rtol=1e-5)


def test_a_candidate_gets_the_bytes_too(pair: Pair) -> None:
    pair.stable.route(1.0, pair.candidate)
    answer = ask(pair)
    assert answer.headers["hyperion-revision"] == "2"
    np.testing.assert_allclose(probabilities(answer), models.expected(models.mlp(1), X), rtol=1e-5)


def test_a_body_that_is_shorter_than_its_sizes_say_is_a_bad_request(pair: Pair) -> None:
    answer = httpx.post(
        pair.kit.url + INFER, content=b"{}", headers={"Inference-Header-Content-Length": "99"}, trust_env=False
    )
    assert (answer.status_code, "99 of 2 bytes" in answer.json()["error"]) == (400, True)


def test_a_large_request_in_many_pieces_is_answered_right_wherever_its_json_ends(pair: Pair) -> None:
    x = models.inputs(rows=4000, seed=5)
    right = models.expected(models.mlp(0), x)
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    for spaces in range(4):
        document = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode() + b" " * spaces
        length = {"Inference-Header-Content-Length": str(len(document))}
        answer = httpx.post(pair.kit.url + INFER, content=document + x.tobytes(), headers=length, trust_env=False)
        np.testing.assert_allclose(probabilities(answer), right, rtol=1e-4, atol=1e-6)
