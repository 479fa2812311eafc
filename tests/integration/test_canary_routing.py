"""A canary inside the workers: the share is exact, every answer is right, and nothing hangs on the candidate."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests import models
from tests.serving_kit import Load, address_of, call, eventually, infer_body, read_answer
from tests.worker_kit import INFER, Pair, Workers

from hyperion.serving.channel import Drained, LeaveTraffic
from hyperion.serving.telemetry import SlotReading, read_slots

BODY = infer_body()
KEEP = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
ONCE = KEEP.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")


@pytest.fixture
def pair(worker_pair: Pair) -> Pair:
    """v1 accepts as revision 1 and forwards nothing; v2 answers frames as revision 2."""
    worker_pair.reset()
    return worker_pair


class Right:
    """What v1 and v2 answer, by revision; an answer that was checked once need not be again."""

    def __init__(self) -> None:
        x = np.random.default_rng(3).normal(size=(1, models.FEATURES)).astype(np.float32)
        self._values = [models.expected(models.mlp(number), x).ravel() for number in range(2)]
        self._checked: dict[bytes, str] = {}

    def revision_of(self, answer: tuple[int, dict[str, str], bytes]) -> str:
        """The revision that answered, whose value, version and number the answer holds."""
        status, headers, body = answer
        assert status == 200, body
        if body not in self._checked:
            found = json.loads(body)
            revision = found["parameters"]["revision"]
            np.testing.assert_allclose(found["outputs"][0]["data"], self._values[revision - 1], rtol=1e-4, atol=1e-6)
            assert found["model_version"] == ("1.0.0", "1.1.0")[revision - 1]
            self._checked[body] = str(revision)
        assert self._checked[body] == headers["hyperion-revision"]
        assert headers["hyperion-version"] == {"1": "1.0.0", "2": "1.1.0"}[headers["hyperion-revision"]]
        return headers["hyperion-revision"]


@pytest.fixture(scope="module")
def right() -> Right:
    return Right()


def keep_alive(url: str, requests: int) -> Iterator[tuple[int, dict[str, str], bytes]]:
    """Pipelined on one connection, fifty at a time."""
    with socket.create_connection(address_of(url), 20) as connection, connection.makefile("rb") as stream:
        for start in range(0, requests, 50):
            batch = min(50, requests - start)
            connection.sendall(KEEP * batch)
            yield from (read_answer(stream) for _ in range(batch))


def one_shot(url: str, requests: int) -> Iterator[tuple[int, dict[str, str], bytes]]:
    for _ in range(requests):
        with socket.create_connection(address_of(url), 20) as connection, connection.makefile("rb") as stream:
            connection.sendall(ONCE)
            yield read_answer(stream)


def slot_of(kit: Workers, worker: str) -> SlotReading:
    """What a worker counts under its present name; another that bore it once has left its counts beside."""
    (found,) = (slot for slot in read_slots(kit.metrics_dir) if slot.worker == worker and slot.alive)
    return found


Clients = Callable[[str, int], Iterator[tuple[int, dict[str, str], bytes]]]
SAMPLE = [(0.05, 5000, keep_alive), (0.25, 1000, one_shot)]
EVERY = [(share, 5000, clients) for share in (0.01, 0.05, 0.25, 0.5) for clients in (keep_alive, one_shot)]


@pytest.mark.parametrize(
    ("share", "requests", "clients"), [*SAMPLE, *(pytest.param(*each, marks=pytest.mark.slow) for each in EVERY)]
)
def test_the_share_is_exact_and_every_answer_right(
    pair: Pair, right: Right, share: float, requests: int, clients: Clients
) -> None:
    # given
    before = {name: slot_of(pair.kit, name).requests for name in ("r1-w0", "r2-w0")}
    pair.stable.route(share, pair.candidate)
    # when
    seen = Counter(right.revision_of(answer) for answer in clients(pair.kit.url, requests))
    # then: not one request off
    assert seen == {"1": requests - requests * share, "2": requests * share}
    # and each counts where it was answered
    for name, revision in (("r1-w0", "1"), ("r2-w0", "2")):
        assert slot_of(pair.kit, name).requests - before[name] == seen[revision]


def test_a_share_that_changes_or_ends_holds_from_the_next_request_on(pair: Pair, right: Right) -> None:
    for share in (0.5, 1.0, 0.25, 0.0):
        pair.stable.route(share, pair.candidate)
        seen = Counter(right.revision_of(answer) for answer in keep_alive(pair.kit.url, 100))
        assert seen["2"] == 100 * share


def test_the_sticky_header_keeps_a_client_with_its_revision(pair: Pair) -> None:
    def ask(client: int) -> str:
        return str(call(pair.kit.url + INFER, BODY, {"X-Client": f"c{client}"})[2]["hyperion-revision"])

    pair.stable.route(0.25, pair.candidate, sticky_header="X-Client")
    first = [ask(client) for client in range(100)]
    assert first == [ask(client) for client in range(100)]
    assert 0 < first.count("2") < 100
    # when: the share grows, nobody who tries the candidate is sent back
    pair.stable.route(0.75, pair.candidate, sticky_header="X-Client")
    grown = [ask(client) for client in range(100)]
    assert all(later == "2" for sooner, later in zip(first, grown, strict=True) if sooner == "2")
    assert grown.count("2") > first.count("2")


def test_what_names_a_version_or_asks_no_inference_stays(pair: Pair) -> None:
    pair.stable.route(1.0, pair.candidate)
    for path, body in (("/v2/models/shop/versions/1.0.0/infer", BODY), ("/v2/models/shop", None)):
        status, _, headers = call(pair.kit.url + path, body)
        assert (status, headers["hyperion-revision"]) == (200, "1")
    assert call(pair.kit.url + INFER, BODY)[2]["hyperion-revision"] == "2"


def test_a_bad_request_is_the_candidates_to_refuse_and_counts_there(pair: Pair) -> None:
    before = slot_of(pair.kit, "r1-w0").failures.get("bad_request", 0)
    pair.stable.route(1.0, pair.candidate)
    status, answer, headers = call(pair.kit.url + INFER, BODY.replace(b'"FP32"', b'"FP64"'))
    assert (status, headers["hyperion-revision"]) == (400, "2")
    assert "expected FP32" in answer["error"]
    assert slot_of(pair.kit, "r1-w0").failures.get("bad_request", 0) == before
    assert slot_of(pair.kit, "r2-w0").failures["bad_request"] >= 1


def test_large_requests_pass_too(pair: Pair) -> None:
    pair.stable.route(1.0, pair.candidate)
    status, answer, headers = call(pair.kit.url + INFER, infer_body(5000))
    assert (status, headers["hyperion-revision"]) == (200, "2")
    assert answer["outputs"][0]["shape"] == [5000, 8]


def test_a_candidate_that_hangs_is_waited_for_a_while_and_then_the_stable_one_answers(pair: Pair, right: Right) -> None:
    before = slot_of(pair.kit, "r1-w0").fallbacks
    pair.stable.route(1.0, pair.candidate)
    assert call(pair.kit.url + INFER, BODY)[2]["hyperion-revision"] == "2"
    os.kill(pair.candidate.process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: next(keep_alive(pair.kit.url, 1)), range(8)))
    finally:
        os.kill(pair.candidate.process.pid, signal.SIGCONT)
    assert [right.revision_of(answer) for answer in found] == ["1"] * 8
    assert slot_of(pair.kit, "r1-w0").fallbacks == before + 8


def test_a_candidate_that_leaves_under_load_takes_no_request_with_it(pair: Pair) -> None:
    candidate = pair.extra_candidate()
    pair.stable.route(0.5, candidate)
    load = Load(pair.kit.url, INFER, BODY).start(2, 2)
    eventually(lambda: len(load.answers) > 100)
    candidate.tell(LeaveTraffic(10.0))  # without a word to the worker that forwards
    assert candidate.hear(Drained).cut == 0
    assert candidate.process.wait(10) == 0
    served = len(load.answers)
    eventually(lambda: len(load.answers) > served + 50)
    load.stop()
    assert (load.failures, {revision for _, revision in load.answers[served:]}) == ([], {"1"})


def test_what_a_dying_candidate_holds_is_answered_by_the_stable_one(pair: Pair, packages: Path) -> None:
    # given: a candidate that takes long over each request
    candidate = pair.extra_candidate(packages / "slow.hyperion")
    before = slot_of(pair.kit, "r1-w0").fallbacks
    pair.stable.route(1.0, candidate)
    body = infer_body(1500)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(call, pair.kit.url + INFER, body) for _ in range(6)]
        held = eventually(lambda: slot_of(pair.kit, candidate.start.worker).inflight, what="a request in work")
        # when
        candidate.process.kill()
        answers = [one.result(20) for one in asked]
    # then: nobody sees it
    assert held > 0
    revisions = [headers["hyperion-revision"] for status, _, headers in answers if status == 200]
    assert len(revisions) == 6
    fallen_back = slot_of(pair.kit, "r1-w0").fallbacks - before
    assert fallen_back == revisions.count("1") > 0
    assert call(pair.kit.url + INFER, BODY)[2]["hyperion-revision"] == "1"
