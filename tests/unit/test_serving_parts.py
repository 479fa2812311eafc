"""The small parts of serving: listener, judgement, exit words, failure log, channel."""

from __future__ import annotations

import json
import signal
import socket
from datetime import UTC, datetime

import msgspec
import pytest

from hyperion.domain.config import DeploymentConfig, MemoryBudget, Serve, TlsFiles
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import HostError
from hyperion.ports import ProcessUsage
from hyperion.serving.channel import Accepting, Gated, LeaveTraffic, encode, parse_order, parse_report
from hyperion.serving.failure_log import LINES_PER_SECOND, FailureLog
from hyperion.serving.judgement import check_memory, judge
from hyperion.serving.listener import open_listener, url_of
from hyperion.serving.worker_link import exit_in_words

MIB = 1024 * 1024


def usage(mib: float) -> ProcessUsage:
    return ProcessUsage(1.0, int(mib * MIB), None, None, None)


def revision(origin: Origin = Origin.DEPLOY, budget_mb: int | None = None) -> Revision:
    return Revision(
        deployment="shop", number=2, digest="sha256:" + "0" * 64, model="m", version="1.0.0",
        config=DeploymentConfig(name="shop", memory=MemoryBudget(budget_mb=budget_mb)), origin=origin, reason=None,
        replaces=1, actor="me", created_at=datetime.now(UTC),
    )  # fmt: skip


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(HostError) as caught:
            open_listener(Serve(port=port))
    assert caught.value.code == "host.port_in_use"
    assert str(port) in caught.value.message


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_of_another_host_is_named(host: str) -> None:
    with pytest.raises(HostError) as caught:
        open_listener(Serve(host=host, port=0))
    assert caught.value.code == "host.address"
    assert host in caught.value.message


@pytest.mark.parametrize(("host", "seen"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])  # noqa: S104
def test_the_url_is_one_that_this_host_can_call(host: str, seen: str) -> None:
    with open_listener(Serve(host=host, port=0)) as listener:
        assert url_of(listener) == f"http://{seen}:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("name", "seen"), [(None, "127.0.0.1"), ("model.example", "model.example")])
def test_the_url_with_tls_bears_the_certificates_name(name: str | None, seen: str) -> None:
    serve = Serve(port=0, tls=TlsFiles(certificate="/c", key="/k", name=name))
    with open_listener(serve) as listener:
        assert url_of(listener, serve) == f"https://{seen}:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("mib", "budget", "outcome"),
    [(100, None, Outcome.PASSED), (100, 100, Outcome.PASSED), (101, 100, Outcome.FAILED)],
)
def test_memory_is_held_against_the_budget(mib: int, budget: int | None, outcome: Outcome) -> None:
    finding = check_memory(usage(mib), budget)
    assert (finding.outcome, finding.measured, finding.limit) == (outcome, mib, budget)


def test_unknown_memory_is_skipped_and_never_zero() -> None:
    finding = check_memory(None, 10)
    assert (finding.outcome, finding.measured) == (Outcome.SKIPPED, None)


def test_a_rescue_is_not_refused_for_its_memory_but_for_a_wrong_answer() -> None:
    golden = Finding(check="model.golden", outcome=Outcome.FAILED, summary="wrong", reason="why").model_dump(
        mode="json"
    )
    assert judge([], usage(200), revision(Origin.ROLLBACK, 100))[1] is None
    assert judge([], usage(200), revision(Origin.DEPLOY, 100))[1] is not None
    assert "wrong: why" in str(judge([golden], usage(1), revision(Origin.ROLLBACK))[1])


def test_exits_are_told_in_words() -> None:
    assert exit_in_words(3) == "ended with exit status 3"
    assert exit_in_words(-signal.SIGKILL) == "was killed by SIGKILL"
    assert exit_in_words(-63) == "was killed by signal 63"


def test_messages_survive_the_channel() -> None:
    assert parse_order(encode(LeaveTraffic(1.5))) == LeaveTraffic(1.5)
    gated = Gated(findings=[{"check": "a", "measured": None}], run_ms=0.5)
    assert parse_report(encode(gated)) == gated
    with pytest.raises(msgspec.DecodeError):
        parse_order(encode(Accepting()))


def test_a_flood_of_failures_is_cut_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    log = FailureLog("shop", 1, "r1-w0")
    for number in range(5 * LINES_PER_SECOND):
        log.write("bad_request", 400, "no", f"id{number}")
    log._second = -1  # the next second
    log.write("engine", 500, "no", None, ValueError("x"))
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert len(lines) <= 2 * LINES_PER_SECOND + 1
    assert lines[-1]["suppressed"] == 5 * LINES_PER_SECOND - (len(lines) - 1)
    assert lines[-1] | {"deployment": "shop", "revision": 1, "worker": "r1-w0", "cause": "engine"} == lines[-1]
    assert "ValueError: x" in lines[-1]["trace"]
