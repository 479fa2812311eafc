"""What tritonclient[http] is asked to do by test_triton_client; runs in tritonclient's own environment.

``python triton_talk.py TOPIC HOST:PORT MODEL`` reads what the topic needs as JSON from standard input, and prints what
it found as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def refusal(ask: Callable[[], object]) -> str:
    """What the client says of a request that must fail."""
    try:
        ask()
    except InferenceServerException as error:
        return str(error.message())
    raise AssertionError("it did not fail")


def tensors(client: triton.InferenceServerClient, model: str) -> list[str]:
    """Everything that it can do with numbers; ``{"x": rows, "y": answers}`` are given."""
    given = json.loads(sys.stdin.read())
    x, y = (np.array(given[key], np.float32) for key in ("x", "y"))
    done = []

    def tensor(values: np.ndarray, *, binary: bool) -> triton.InferInput:
        made = triton.InferInput("x", list(values.shape), "FP32")
        made.set_data_from_numpy(values, binary_data=binary)
        return made

    def right(result: triton.InferResult, expected: np.ndarray = y) -> None:
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-4, atol=1e-6)

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.is_model_ready(model, "1.0.0")
    assert not client.is_model_ready("nobody")
    done.append("live")

    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(model)
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["x"]
    assert metadata["inputs"][0]["datatype"] == "FP32"
    done.append("metadata")

    as_json = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    as_bytes = [triton.InferRequestedOutput("probabilities", binary_data=True)]
    found = client.infer(model, [tensor(x, binary=False)], outputs=as_json, request_id="a1")
    right(found)
    assert found.get_response()["id"] == "a1"
    done.append("json")
    right(client.infer(model, [tensor(x, binary=True)]))  # its own default: bytes both ways
    right(client.infer(model, [tensor(x, binary=True)], model_version="1.0.0", outputs=as_bytes))
    done.append("binary")
    right(client.infer(model, [tensor(x, binary=True)], outputs=as_json))
    right(client.infer(model, [tensor(x, binary=False)], outputs=as_bytes))
    done.append("mixed")
    for row, expected in zip(x, y, strict=True):
        right(client.infer(model, [tensor(row[None], binary=True)]), expected[None])
    done.append("one-by-one")

    wrong = triton.InferInput("x", [1, 2], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 2), np.float32))
    for ask, words in (
        (lambda: client.infer(model, [wrong]), "expected size 32"),
        (lambda: client.infer(model, []), "missing input"),
        (lambda: client.infer("nobody", [tensor(x, binary=True)]), "nothing at"),
        (lambda: client.infer(model, [tensor(x, binary=True)], outputs=[triton.InferRequestedOutput("z")]), "unknown"),
    ):
        found = refusal(ask)
        assert words in found, found
    done.append("errors")

    right(client.infer(model, [tensor(x, binary=True)], response_compression_algorithm="gzip"))
    for algorithm in ("gzip", "deflate"):
        found = refusal(lambda: client.infer(model, [tensor(x, binary=True)], request_compression_algorithm=algorithm))  # noqa: B023
        assert f"{algorithm!r} is not taken" in found, found
    right(client.infer(model, [tensor(x, binary=True)]))
    done.append("compression")

    for asked in [client.async_infer(model, [tensor(x, binary=True)]) for _ in range(8)]:
        right(asked.get_result())
    done.append("parallel")
    return done


def texts(client: triton.InferenceServerClient, model: str) -> dict[str, list[Any]]:
    """The labels and scores of texts, sent as bytes and as JSON; a list of them is given."""
    given = np.array(json.loads(sys.stdin.read()), np.object_)
    assert {"text", "label", "score"} <= {
        tensor["name"] for side in ("inputs", "outputs") for tensor in client.get_model_metadata(model)[side]
    }
    answers = []
    for binary in (True, False):
        tensor = triton.InferInput("text", [len(given)], "BYTES")
        tensor.set_data_from_numpy(given, binary_data=binary)
        asked = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "score")]
        found = client.infer(model, [tensor], outputs=asked)
        labels = [label.decode() if isinstance(label, bytes) else label for label in found.as_numpy("label")]
        answers.append((labels, [float(score) for score in found.as_numpy("score")]))
    assert answers[0] == answers[1], answers
    return {"label": answers[0][0], "score": answers[0][1]}


def without_pause(client: triton.InferenceServerClient, model: str) -> dict[str, Any]:
    """How many right answers of each version, and each fault, one connection saw until standard input ended.

    Its first line is ``{"x": rows, "answers": {version: answers}}``; "sending" is printed with the first answer.
    """
    given = json.loads(sys.stdin.readline())
    x = np.array(given["x"], np.float32)
    expected = {version: np.array(y, np.float32) for version, y in given["answers"].items()}
    tensor = triton.InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    versions: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    while not ended.is_set():
        try:
            found = client.infer(model, [tensor])
            version = found.get_response()["model_version"]
            np.testing.assert_allclose(found.as_numpy("probabilities"), expected[version], rtol=1e-4, atol=1e-6)
            versions[version] += 1
        except (InferenceServerException, OSError, AssertionError, KeyError) as error:
            faults[f"{type(error).__name__}: {error}"[:200]] += 1
        if versions.total() + faults.total() == 1:
            print("sending", flush=True)  # noqa: T201
    return {"versions": versions, "faults": faults}


TOPICS = {"tensors": (tensors, 4), "texts": (texts, 1), "without-pause": (without_pause, 1)}
"""What is asked, and over how many connections at most."""


if __name__ == "__main__":
    talk, connections = TOPICS[sys.argv[1]]
    client = triton.InferenceServerClient(sys.argv[2], concurrency=connections)
    outcome = talk(client, sys.argv[3])
    client.close()
    sys.stdout.write(json.dumps(outcome))
