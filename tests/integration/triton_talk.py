"""What tritonclient[http] is asked to do by test_binary_over_http; runs in tritonclient's own environment.

``python triton_talk.py HOST:PORT MODEL`` with ``{"x": rows, "y": answers}`` on standard input; prints what went well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

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


def main(address: str, model: str) -> None:
    given = json.loads(sys.stdin.read())
    x, y = (np.array(given[key], np.float32) for key in ("x", "y"))
    client = triton.InferenceServerClient(address, concurrency=4)
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

    for asked in [client.async_infer(model, [tensor(x, binary=True)]) for _ in range(8)]:
        right(asked.get_result())
    done.append("parallel")
    client.close()
    sys.stdout.write(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
