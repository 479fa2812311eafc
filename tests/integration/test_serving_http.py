"""What a worker answers over HTTP: the Open Inference Protocol, its limits, its metrics."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import models
from tests.serving_kit import Foreground, address_of, call, eventually, infer_body, read_answer, supervisor

LIMITS = {"max_body_bytes": 2_000_000, "max_header_bytes": 2000, "header_timeout_s": 0.5, "request_timeout_s": 20}
INFER = "/v2/models/shop/infer"


@pytest.fixture(scope="module")
def running(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    """shop (v1), unsteady and slow, deployed."""
    with supervisor(tmp_path_factory.mktemp("http")) as found:
        assert found.deploy(packages / "v1.hyperion", "shop", limits=LIMITS).promoted
        assert found.deploy(packages / "unsteady.hyperion", "unsteady").promoted
        slow = {**LIMITS, "max_inflight": 2, "request_timeout_s": 0.02}
        assert found.deploy(packages / "slow.hyperion", "slow", limits=slow).promoted
        yield found


def url(running: Foreground, name: str = "shop") -> str:
    return str(next(d.url for d in running.status().deployments if d.deployment.name == name))


@pytest.fixture
def shop(running: Foreground) -> str:
    return url(running)


def raw(shop: str, *chunks: bytes, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """Send bytes as they are, and read answers."""
    with socket.create_connection(address_of(shop), 10) as connection, connection.makefile("rb") as stream:
        for chunk in chunks:
            connection.sendall(chunk)
        return [read_answer(stream) for _ in range(answers)]


def post(body: bytes, *headers: str) -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def failures(running: Foreground, name: str = "shop") -> dict[str, int]:
    return running.figures(name).failures


def test_the_answer_is_the_models(shop: str) -> None:
    status, answer, headers = call(shop + INFER, infer_body(3, id="my-id"))
    x = np.random.default_rng(3).normal(size=(3, models.FEATURES)).astype(np.float32)
    assert status == 200
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("shop", "1.0.0", "my-id")
    assert answer["parameters"] == {"revision": 1}
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("probabilities", [3, 8], "FP32")
    np.testing.assert_allclose(
        np.array(output["data"]).reshape(3, 8), models.expected(models.mlp(0), x), rtol=1e-4, atol=1e-6
    )
    assert headers["hyperion-revision"] == "1"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2", {"name": "hyperion"}),
        ("/v2/", {"name": "hyperion"}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/shop", {"name": "shop", "versions": ["1.0.0"]}),
        ("/v2/models/shop/versions/1.0.0", {"name": "shop"}),
        ("/v2/models/shop/ready", {"ready": True}),
        ("/v2/models/shop/versions/1.0.0/ready", {"ready": True}),
    ],
)
def test_metadata_and_health(shop: str, path: str, expected: dict[str, Any]) -> None:
    status, answer, _ = call(shop + path)
    assert status == 200
    assert answer | expected == answer


@pytest.mark.parametrize("path", ["/", "/v3", "/v2/models/other", "/v2/models/shop/versions/9.9.9/ready", "/%00"])
def test_what_is_not_there_is_404_with_the_revision_named(shop: str, path: str) -> None:
    status, answer, headers = call(shop + path)
    assert status == 404
    assert answer["error"]
    assert (headers["hyperion-model"], headers["hyperion-version"], headers["hyperion-revision"]) == (
        "test-mlp", "1.0.0", "1",
    )  # fmt: skip


def test_infer_by_version_works_and_of_another_version_is_404(shop: str) -> None:
    assert call(shop + "/v2/models/shop/versions/1.0.0/infer", infer_body())[0] == 200
    assert call(shop + "/v2/models/shop/versions/2.0.0/infer", infer_body())[0] == 404


def test_wrong_methods_are_405(shop: str) -> None:
    status, _, headers = call(shop + INFER)
    assert (status, headers["allow"]) == (405, "POST")
    assert call(shop + "/v2", b"{}")[0] == 405


def test_head_has_no_body(shop: str) -> None:
    with socket.create_connection(address_of(shop), 10) as connection:
        connection.sendall(b"HEAD /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_bad_request_is_400_counted_and_logged_without_its_data(running: Foreground, shop: str) -> None:
    before = failures(running).get("bad_request", 0)
    body = infer_body(id="find-me").replace(b'"FP32"', b'"FP64"')
    status, answer, _ = call(shop + INFER, body)
    assert status == 400
    assert "expected FP32" in answer["error"]
    assert failures(running)["bad_request"] == before + 1
    log = (running.state / "logs" / "shop" / "r1.jsonl").read_text()
    line = next(json.loads(line) for line in log.splitlines() if "find-me" in line)
    assert line | {"cause": "bad_request", "deployment": "shop", "revision": 1, "worker": "r1-w0"} == line
    assert "0.0" not in line["message"]


def test_an_output_that_json_cannot_carry_is_a_500(running: Foreground) -> None:
    status, answer, _ = call(url(running, "unsteady") + "/v2/models/unsteady/infer", infer_body())
    assert status == 500
    assert "NaN" in answer["error"]
    assert failures(running, "unsteady")["non_finite_output"] == 1


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(running: Foreground, shop: str) -> None:
    before = failures(running).get("too_large", 0)
    ((status, headers, body),) = raw(shop, post(b"").replace(b"Length: 0", b"Length: 2000001"))
    assert status == 413
    assert headers["connection"] == "close"
    assert headers["hyperion-revision"] == "1"
    assert b"2000000" in body
    assert failures(running)["too_large"] == before + 1


def test_a_client_that_sends_too_much_still_reads_its_refusal(shop: str) -> None:
    status, _, _ = call(shop + INFER, b" " * 3_000_000)
    assert status == 413


def test_a_chunked_body_is_accepted_up_to_the_limit(shop: str) -> None:
    body = infer_body()
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:100], body[100:])]
    assert raw(shop, head, *pieces, b"0\r\n\r\n")[0][0] == 200
    chunk = b"%x\r\n%s\r\n" % (1_500_000, b" " * 1_500_000)
    assert raw(shop, head, chunk, chunk[:800_000])[0][0] == 413


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(shop: str) -> None:
    body = infer_body()
    with socket.create_connection(address_of(shop), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(post(body, "Expect: 100-continue")[: -len(body)])
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        stream.readline()
        connection.sendall(body)
        assert read_answer(stream)[0] == 200


@pytest.mark.parametrize(
    "filler", [b"X-Long: " + b"a" * 3000 + b"\r\n", b"X-A: b\r\n" * 300, b"X-Endless: " + b"a" * 9000]
)
def test_a_header_beyond_the_limit_is_431(shop: str, filler: bytes) -> None:
    assert raw(shop, b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + filler)[0][0] == 431 or filler.endswith(b"\r\n")
    assert raw(shop, b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + filler + b"\r\n\r\n")[0][0] == 431


def test_bytes_that_are_no_http_are_400(shop: str) -> None:
    assert raw(shop, b"\x16\x03\x01 hello\r\n\r\n")[0][0] == 400


def test_a_slow_loris_is_cut_off_with_408(running: Foreground, shop: str) -> None:
    before, began = failures(running).get("timeout", 0), time.monotonic()
    with socket.create_connection(address_of(shop), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(b"POST /v2/models/shop/infer HTTP/1.1\r\nHost: x\r\n")
        status, headers, _ = read_answer(stream)
    assert (status, headers["connection"]) == (408, "close")
    assert time.monotonic() - began < 3
    assert failures(running)["timeout"] == before + 1


def test_a_body_that_never_ends_is_cut_off_too_even_where_bytes_trickle(shop: str) -> None:
    with socket.create_connection(address_of(shop), 10) as connection, connection.makefile("rb") as stream:
        connection.sendall(post(infer_body())[:-10])
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            connection.sendall(b" ")
            time.sleep(0.1)
        assert read_answer(stream)[0] == 408


def test_a_silent_connection_is_closed_without_an_answer(shop: str) -> None:
    with socket.create_connection(address_of(shop), 10) as connection:
        assert connection.recv(1) == b""


def test_an_idle_connection_outlives_the_header_timeout(shop: str) -> None:
    body = infer_body()
    with socket.create_connection(address_of(shop), 10) as connection, connection.makefile("rb") as stream:
        for _ in range(2):
            connection.sendall(post(body))
            assert read_answer(stream)[0] == 200
            time.sleep(0.8)  # longer than header_timeout_s: that is what is tested


def test_pipelined_requests_are_answered_in_order(shop: str) -> None:
    requests = [post(infer_body(id=f"n{number}")) for number in range(10)]
    found = raw(shop, b"".join(requests), answers=10)
    assert [json.loads(body)["id"] for _, _, body in found] == [f"n{number}" for number in range(10)]


def test_http_1_0_is_answered_and_closed(shop: str) -> None:
    ((status, headers, _),) = raw(shop, b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert (status, headers["connection"]) == (200, "close")


def test_an_upgrade_that_is_not_offered_is_ignored(shop: str) -> None:
    headers = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
    assert raw(shop, post(infer_body(), *headers))[0][0] == 200


def test_too_many_requests_in_flight_are_told_to_come_again_and_slow_ones_end(running: Foreground) -> None:
    slow = url(running, "slow")
    body = infer_body(1500)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: call(slow + "/v2/models/slow/infer", body), range(16)))
    statuses = {status for status, _, _ in found}
    assert statuses <= {200, 503}
    overloaded = [headers for status, answer, headers in found if status == 503 and "in work" in answer["error"]]
    assert overloaded
    assert all(headers["retry-after"] == "1" for headers in overloaded)
    late = [answer for status, answer, _ in found if status == 503 and "no answer within" in answer["error"]]
    assert late
    causes = failures(running, "slow")
    assert causes["overloaded"] >= len(overloaded)
    assert causes["timeout"] >= len(late)
    eventually(lambda: running.figures("slow").workers[0].inflight == 0)
    assert call(slow + "/v2/health/ready")[0] == 200


def test_metrics_are_prometheus_text_and_monotone(running: Foreground, shop: str) -> None:
    def read() -> dict[tuple[str, str], float]:
        _, text, headers = call(shop + "/metrics")
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        families = list(text_string_to_metric_families(text))
        return {
            (s.name, str(sorted(s.labels.items()))): s.value for f in families for s in f.samples if f.type != "gauge"
        }

    before = read()
    for _ in range(5):
        assert call(shop + INFER, infer_body())[0] == 200
    after = read()
    assert all(after[key] >= value for key, value in before.items())
    total = next(key for key in after if key[0] == "hyperion_requests_total")
    assert after[total] - before[total] == 5
    assert running.figures().requests == after[total]
