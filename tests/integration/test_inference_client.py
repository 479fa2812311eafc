"""The v2 client against a real HTTP server that answers what a test scripts."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.certificates import make_pair

from hyperion.adapters.service.inference_client import HttpInferenceClient
from hyperion.errors import EngineError


class Handler(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[int, bytes]] = (200, b"{}")
    asked: ClassVar[list[tuple[str, Any]]] = []
    released: ClassVar[threading.Event] = threading.Event()
    hangs: ClassVar[bool] = False
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _reply(self, body: object) -> None:
        type(self).asked.append((self.path, body))
        if type(self).hangs:
            type(self).released.wait(20)
        status, raw = type(self).answer
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Handler.answer, Handler.asked, Handler.hangs = (200, b"{}"), [], False
    Handler.released = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client() -> Iterator[HttpInferenceClient]:
    client = HttpInferenceClient()
    yield client
    client.close()


def script(outputs: list[dict[str, Any]], **more: Any) -> None:
    document = {"model_name": "shop", "model_version": "1.2.0", "outputs": outputs, "parameters": {"revision": 3}}
    Handler.answer = (200, json.dumps({**document, **more}).encode())


def test_tensors_go_and_come_with_their_types_and_shapes(client: HttpInferenceClient, url: str) -> None:
    script(
        [
            {"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [0.25, 0.75]},
            {"name": "label", "shape": [1], "datatype": "BYTES", "data": ["cat"]},
            {"name": "n", "shape": [], "datatype": "INT64", "data": [7]},
        ]
    )
    feeds = {"x": np.array([[1.5, 2]], np.float32), "t": np.array(["ä"], dtype=object), "b": np.array([True])}

    answer = client.infer(url, "shop", feeds, 5)

    path, body = Handler.asked[0]
    assert path == "/v2/models/shop/infer"
    assert body["inputs"] == [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.0]},
        {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["ä"]},
        {"name": "b", "shape": [1], "datatype": "BOOL", "data": [True]},
    ]
    assert (answer.model, answer.version, answer.revision) == ("shop", "1.2.0", 3)
    assert answer.outputs["y"].dtype == np.float32
    assert answer.outputs["y"].tolist() == [[0.25, 0.75]]
    assert answer.outputs["label"].tolist() == ["cat"]
    assert answer.outputs["n"].tolist() == 7
    assert answer.latency_ms > 0


def test_names_cannot_leave_their_place_in_the_address(client: HttpInferenceClient, url: str) -> None:
    client.not_ready(url, "../a b", 5)

    assert Handler.asked[0][0] == "/v2/models/..%2Fa%20b/ready"


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "inference.refused"), (503, "inference.refused"), (500, "inference.failed"), (302, "inference.failed")],
)
def test_a_status_other_than_200_is_an_error_with_the_servers_words(
    client: HttpInferenceClient, url: str, status: int, code: str
) -> None:
    Handler.answer = (status, b'{"error": "no such input"}')

    with pytest.raises(EngineError, match="no such input") as caught:
        client.infer(url, "shop", {"x": np.zeros(1, np.float32)}, 5)

    assert caught.value.code == code


def test_a_server_that_does_not_answer_in_time_is_a_timeout(client: HttpInferenceClient, url: str) -> None:
    Handler.hangs = True

    with pytest.raises(EngineError) as caught:
        client.infer(url, "shop", {"x": np.zeros(1, np.float32)}, 0.2)

    assert caught.value.code == "inference.timeout"


def test_no_server_is_a_failure_and_not_ready(client: HttpInferenceClient) -> None:
    with pytest.raises(EngineError) as caught:
        client.infer("http://127.0.0.1:1", "shop", {"x": np.zeros(1, np.float32)}, 2)

    assert caught.value.code == "inference.failed"
    found = client.not_ready("http://127.0.0.1:1", "shop", 2)
    assert found is not None
    assert "Connection refused" in found.reason


def test_readiness_is_status_200(client: HttpInferenceClient, url: str) -> None:
    assert client.not_ready(url, "shop", 5) is None
    Handler.answer = (503, b'{"error": "the model is loading"}')
    found = client.not_ready(url, "shop", 5)
    assert found is not None
    assert found.reason == "it answered its readiness probe with 503: the model is loading"


@pytest.mark.parametrize("status", [401, 403])
def test_a_probe_that_lacks_a_key_says_which_variable_holds_it(
    client: HttpInferenceClient, url: str, status: int
) -> None:
    Handler.answer = (status, b'{"error": "an API key is needed"}')

    found = client.not_ready(url, "shop", 5)

    assert found is not None
    assert found.reason == f"it answered its readiness probe with {status}: an API key is needed"
    assert "HYPERION_API_KEY" in str(found.hint)


def test_a_probe_that_nobody_answers_in_time_says_so(client: HttpInferenceClient, url: str) -> None:
    Handler.hangs = True

    found = client.not_ready(url, "shop", 0.2)

    assert found is not None
    assert found.reason == "it did not answer its readiness probe in 0.2 s"


def test_a_name_without_an_address_is_told_from_a_deployment_that_is_down(
    client: HttpInferenceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # no test asks a name server

    found = client.not_ready("http://models.example.com:1", "shop", 5)

    assert found is not None
    assert found.reason == "this host finds no address under its name: Name or service not known"


def test_a_certificate_that_is_not_trusted_says_so_and_with_its_authority_it_is(url: str, tmp_path: Path) -> None:
    pair = make_pair()
    certificate = pair.put(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"https://127.0.0.1:{server.server_port}"
    client, trusting = HttpInferenceClient(), HttpInferenceClient(authority=certificate)
    try:
        found = client.not_ready(address, "shop", 5)

        assert found is not None
        assert found.reason.startswith("its certificate is not trusted: self")
        assert "HYPERION_CA_FILE" in str(found.hint)
        assert trusting.not_ready(address, "shop", 5) is None
    finally:
        client.close()
        trusting.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "raw",
    [
        b"not json", b"[]", b"{}", b'{"outputs": 3, "model_name": "m", "model_version": "1"}',
        b'{"outputs": [], "model_name": "m", "model_version": "1"}',
    ],
)  # fmt: skip
def test_an_answer_that_is_no_inference_response_is_a_failure(
    client: HttpInferenceClient, url: str, raw: bytes
) -> None:
    Handler.answer = (200, raw)

    with pytest.raises(EngineError, match="no v2 inference response"):
        client.infer(url, "shop", {"x": np.zeros(1, np.float32)}, 5)


@pytest.mark.parametrize(
    "output",
    [
        {"name": "y", "shape": [3], "datatype": "FP32", "data": [1]},
        {"name": "y", "shape": [1], "datatype": "FP99", "data": [1]},
        {"name": "y", "shape": [1], "datatype": "UINT8", "data": [300]},
        {"name": "y", "shape": [2], "datatype": "BYTES", "data": ["a"]},
    ],
)
def test_an_output_that_contradicts_itself_is_a_failure(
    client: HttpInferenceClient, url: str, output: dict[str, Any]
) -> None:
    script([output])

    with pytest.raises(EngineError, match="no v2 inference response"):
        client.infer(url, "shop", {"x": np.zeros(1, np.float32)}, 5)


def test_what_json_cannot_carry_is_refused_before_it_is_sent(client: HttpInferenceClient, url: str) -> None:
    with pytest.raises(EngineError) as caught:
        client.infer(url, "shop", {"x": np.array([np.nan], np.float32)}, 5)

    assert caught.value.code == "inference.refused"
    assert Handler.asked == []
