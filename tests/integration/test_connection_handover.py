"""Leaving traffic: live connections go to the next revision, nothing is lost, and 503 comes only past the deadline."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from typing import Self

import pytest
from tests.serving_kit import Load, address_of, call, eventually, infer_body, read_answer
from tests.worker_kit import INFER, Pair

from hyperion.serving.channel import Beat, Beaten, Drained, LameDucked, LeaveTraffic, Replay, Replayed, Rest, Rested
from hyperion.serving.dialing import bind_at
from hyperion.serving.telemetry import read_slots

BODY = infer_body()
READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
POST = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY


@pytest.fixture
def pair(worker_pair: Pair) -> Pair:
    """v1 accepts as revision 1; v2, revision 2, is warm and accepts after ``swap``."""
    worker_pair.reset()
    return worker_pair


class Client:
    """A connection that its client keeps."""

    def __init__(self, pair: Pair, receive_bytes: int | None = None) -> None:
        self.connection = socket.socket()
        if receive_bytes is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.connection.settimeout(20)
        self.connection.connect(address_of(pair.kit.url))
        self.stream = self.connection.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.connection.close()

    def send(self, request: bytes) -> None:
        self.connection.sendall(request)

    def read(self) -> tuple[int, dict[str, str], bytes]:
        return read_answer(self.stream)

    def ask(self, request: bytes = READY) -> tuple[str, str | None]:
        """The revision that answers, and what it says of the connection."""
        self.send(request)
        status, headers, _ = self.read()
        assert status == 200
        return headers["hyperion-revision"], headers.get("connection")


def swap(pair: Pair, deadline_s: float = 10.0) -> LameDucked:
    """v2 takes traffic, then v1 rests."""
    pair.candidate.accept(2, "r2-w0")
    pair.stable.tell(Rest(deadline_s, [pair.candidate.start.handover_path]))
    return pair.stable.hear(LameDucked)


def test_connections_at_rest_go_to_the_next_revision_at_once(pair: Pair) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(pair)) for _ in range(50)]
        for client in clients[:25]:
            assert client.ask() == ("1", None)  # the others were opened and are silent
        eventually(lambda: call(pair.kit.url + "/v2/health/ready")[0] == 200)
        ducked = swap(pair)
        assert ducked.connections <= 25  # those that were not yet accepted come up a moment later
        assert [client.ask(POST) for client in clients] == [("2", None)] * 50
        assert pair.stable.hear(Rested).cut == 0


def test_swaps_and_flips_under_load_lose_nothing_and_reach_every_client(pair: Pair) -> None:
    load = Load(pair.kit.url, INFER, BODY).start(4, 4)
    roles = [(pair.stable, "v1"), (pair.candidate, "v2")]
    revision = 1
    for _ in range(10):
        served = len(load.answers)
        eventually(lambda served=served: len(load.answers) > served + 40)
        revision += 1
        (old, _), (new, _) = roles
        new.accept(revision, f"r{revision}-w0")
        old.tell(Rest(10.0, [new.start.handover_path]))
        old.hear(LameDucked)
        assert old.hear(Rested).cut == 0
        # then: from here on everything that is asked is answered by the new one
        since = time.monotonic()
        eventually(lambda since=since: sum(at > since for at, _ in load.answers) > 40)
        late = [found for at, found in load.answers if at > since + 0.2]
        assert set(late) <= {str(revision)}
        roles.reverse()
    load.stop()
    assert load.failures == []
    assert load.revisions() == {str(number) for number in range(1, revision + 1)}
    eventually(lambda: not any(slot.inflight for slot in read_slots(pair.kit.metrics_dir)), what="nothing in work")


def test_a_half_sent_request_is_finished_and_its_connection_goes_then(pair: Pair) -> None:
    with Client(pair) as client:
        client.send(POST[:100])
        eventually(lambda: call(pair.kit.url + "/v2/health/ready")[0] == 200)
        swap(pair)
        client.send(POST[100:])
        status, headers, _ = client.read()
        assert (status, headers["hyperion-revision"], headers.get("connection")) == (200, "1", None)
        assert client.ask() == ("2", None)
        assert pair.stable.hear(Rested).cut == 0


def test_pipelined_requests_are_all_answered_in_order(pair: Pair) -> None:
    with Client(pair) as client:
        assert client.ask() == ("1", None)
        client.send(POST * 20)
        swap(pair)
        client.send(READY * 5)
        found = [client.read() for _ in range(25)]
        assert [status for status, _, _ in found] == [200] * 25
        assert [b"outputs" in body for _, _, body in found] == [True] * 20 + [False] * 5
        assert client.ask() == ("2", None)
        assert pair.stable.hear(Rested).cut == 0


def test_a_slow_reader_gets_its_whole_answer_before_its_connection_goes(pair: Pair) -> None:
    large = infer_body(20_000)
    request = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(large)}\r\n\r\n".encode() + large
    with Client(pair, receive_bytes=4096) as client:
        before = requests(pair, "r1-w0")
        client.send(request)
        eventually(lambda: requests(pair, "r1-w0") > before, what="the answer")
        swap(pair)
        status, headers, body = client.read()
        assert (status, headers["hyperion-revision"]) == (200, "1")
        assert len(body) == int(headers["content-length"]) > 1_000_000
        assert client.ask()[0] == "2"


def test_without_an_heir_the_next_answer_is_the_last(pair: Pair) -> None:
    with Client(pair) as client:
        assert client.ask() == ("1", None)
        pair.stable.tell(Rest(10.0, [str(pair.kit.state / "nobody")]))
        pair.stable.hear(LameDucked)
        assert client.ask() == ("1", "close")
        with pytest.raises(ConnectionError):
            client.ask()
        assert pair.stable.hear(Rested).cut == 0


def test_an_heir_that_dies_leaves_connections_where_they_are(pair: Pair) -> None:
    with Client(pair) as client, bind_at(str(pair.kit.state / "heir")) as heir:
        client.send(POST[:100])
        eventually(lambda: call(pair.kit.url + "/v2/health/ready")[0] == 200)
        heir.listen()
        pair.stable.tell(Rest(10.0, [str(pair.kit.state / "heir")]))
        pair.stable.hear(LameDucked)
        heir.accept()[0].close()
        client.send(POST[100:])
        assert client.read()[1]["hyperion-revision"] == "1"  # and is offered to the heir in vain
        assert client.ask() == ("1", "close")
        assert pair.stable.hear(Rested).cut == 0


def test_past_the_deadline_what_is_still_to_be_answered_gets_503_and_may_come_again(pair: Pair) -> None:
    # given: a request in work (its candidate hangs), one half sent, one connection at rest, and nobody to inherit
    pair.stable.route(1.0, pair.candidate)
    with Client(pair) as working, Client(pair) as half, Client(pair) as idle:
        assert idle.ask()[0] == "1"
        os.kill(pair.candidate.process.pid, signal.SIGSTOP)
        try:
            half.send(POST[:100])
            working.send(POST)
            eventually(lambda: call(pair.kit.url + "/v2/health/ready")[0] == 200)
            # when
            pair.stable.tell(Rest(0.1, []))
            found = [working.read(), half.read()]
            with pytest.raises(ConnectionError):
                idle.read()
        finally:
            os.kill(pair.candidate.process.pid, signal.SIGCONT)
        # then
        for status, headers, body in found:
            assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
            assert b"drain deadline" in body
        assert pair.stable.hear(Rested).cut == 3


def test_a_flip_serves_under_its_new_name_and_counts_there(pair: Pair) -> None:
    swap(pair)
    pair.stable.hear(Rested)
    # when: v1 comes back while v2 rests
    began = time.perf_counter()
    pair.stable.accept(30, "r30-w0")
    pair.candidate.tell(Rest(10.0, [pair.stable.start.handover_path]))
    pair.candidate.hear(LameDucked)
    flipped_ms = 1000 * (time.perf_counter() - began)
    # then
    status, answer, headers = call(pair.kit.url + INFER, BODY)
    assert (status, headers["hyperion-revision"], headers["hyperion-version"]) == (200, "30", "1.0.0")
    assert answer["parameters"] == {"revision": 30}
    slots = {slot.worker: slot for slot in read_slots(pair.kit.metrics_dir)}
    assert (slots["r30-w0"].labels.revision, slots["r30-w0"].requests, slots["r30-w0"].alive) == (30, 1, True)
    assert not slots["r1-w0"].alive
    assert flipped_ms < 1000  # a flip loads nothing; how fast it is, the benchmark says
    # and its log says who speaks
    assert call(pair.kit.url + INFER, b"{}")[0] == 400
    line = (pair.kit.state / "r1-w0.log").read_text().splitlines()[-1]
    assert '"revision":30,"worker":"r30-w0"' in line


def test_a_worker_that_still_rests_is_flipped_back_with_what_it_has_in_work(pair: Pair) -> None:
    with Client(pair) as client:
        client.send(POST[:100])
        eventually(lambda: call(pair.kit.url + "/v2/health/ready")[0] == 200)
        swap(pair)
        pair.stable.accept(31, "r31-w0")
        client.send(POST[100:])
        assert client.read()[0] == 200
        assert client.ask() == ("31", None)
        pair.candidate.tell(Rest(10.0, [pair.stable.start.handover_path]))
        pair.candidate.hear(Rested)
        assert call(pair.kit.url + INFER, BODY)[2]["hyperion-revision"] == "31"


def test_requests_that_wait_in_the_backlog_while_a_listener_closes_are_all_answered(pair: Pair) -> None:
    os.kill(pair.stable.process.pid, signal.SIGSTOP)
    try:
        with ExitStack() as stack:
            queued = [stack.enter_context(Client(pair)) for _ in range(100)]
            for client in queued:
                client.send(READY)
            pair.stable.tell(Rest(10.0, [pair.candidate.start.handover_path]))
            pair.candidate.accept(2, "r2-w0")
            os.kill(pair.stable.process.pid, signal.SIGCONT)
            assert [client.read()[0] for client in queued] == [200] * 100
            pair.stable.hear(Rested)
    finally:
        os.kill(pair.stable.process.pid, signal.SIGCONT)


def test_a_worker_answers_heartbeats_and_replays_its_golden_requests_also_at_rest(pair: Pair) -> None:
    pair.candidate.tell(Beat(7))
    beaten = pair.candidate.hear(Beaten)
    assert beaten.number == 7
    assert (beaten.resident_bytes or 0) > 10_000_000
    pair.candidate.tell(Replay())
    assert [finding["outcome"] for finding in pair.candidate.hear(Replayed).findings] == ["passed"]


def test_a_worker_that_leaves_for_good_gives_its_connections_away_and_ends(pair: Pair) -> None:
    leaver = pair.extra_candidate()
    pair.candidate.accept(2, "r2-w0")
    pair.stable.tell(Rest(10.0, [pair.candidate.start.handover_path]))
    pair.stable.hear(Rested)
    leaver.accept()
    pair.candidate.tell(Rest(10.0, [leaver.start.handover_path]))
    pair.candidate.hear(Rested)
    with Client(pair) as client:
        number = str(leaver.start.revision)
        assert client.ask() == (number, None)
        pair.stable.accept(1, "r1-w0")
        leaver.tell(LeaveTraffic(10.0, [pair.stable.start.handover_path]))
        assert leaver.hear(Drained).cut == 0
        assert leaver.process.wait(10) == 0
        assert client.ask() == ("1", None)


def requests(pair: Pair, worker: str) -> int:
    return sum(slot.requests for slot in read_slots(pair.kit.metrics_dir) if slot.worker == worker)
