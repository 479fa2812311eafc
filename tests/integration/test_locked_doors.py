"""TLS and API keys of a deployment: who is let in, and that both are replaced without a restart."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Pair, make_pair
from tests.serving_kit import Foreground, address_of, eventually, infer_body, read_answer, supervisor

from hyperion.bootstrap import open_host, open_key_rings
from hyperion.domain.access import KeyRing, Scope
from hyperion.errors import ConfigError
from hyperion.usecases.history import read_logs
from hyperion.usecases.key import add_key, remove_key

INFER = "/v2/models/shop/infer"


@dataclass
class Doors:
    """A deployment behind TLS and keys."""

    running: Foreground
    folder: Path
    pair: Pair
    url: str

    @property
    def tls(self) -> dict[str, str]:
        return {"certificate": str(self.folder / "cert.pem"), "key": str(self.folder / "key.pem")}

    def trusting(self, *pairs: Pair) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for pair in pairs or (self.pair,):
            context.load_verify_locations(cadata=pair.certificate.decode())
        return context

    def ask(self, path: str, token: str | None = None) -> tuple[int, Any, Any]:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        body = infer_body() if path == INFER else None
        request = urllib.request.Request(self.url + path, data=body, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.trusting()) as answer:  # noqa: S310
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers

    def seen(self) -> bytes:
        """The certificate that a new connection is shown."""
        context = self.trusting()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(address_of(self.url.replace("https", "http"))) as plain,
            context.wrap_socket(plain) as safe,
        ):
            return safe.getpeercert(binary_form=True) or b""

    def add(self, name: str, *scopes: Scope, deployment: str | None = None, expires: str | None = None) -> str:
        host, rings = open_host(self.running.state), open_key_rings(self.running.state)
        return add_key(host, rings, name, scopes or (Scope.INFER,), deployment, expires).token

    def workers(self) -> list[int]:
        return self.running.worker_pids()


def expired(ring: KeyRing, name: str) -> KeyRing:
    end = datetime(2020, 1, 1, tzinfo=UTC)
    keys = (key.model_copy(update={"expires_at": end}) if key.name == name else key for key in ring.keys)
    return ring.model_copy(update={"keys": tuple(keys)})


@pytest.fixture(scope="module")
def doors(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    pair = make_pair()
    pair.put(folder)
    with supervisor(folder / "state") as running:
        found = Doors(running, folder, pair, "")
        deployed = running.deploy(
            packages / "v1.hyperion", serve={"port": 0, "require_key": True, "tls": found.tls}, workers=2
        )
        assert deployed.url is not None
        found.url = deployed.url
        yield found


def test_the_url_says_https_and_speaks_nothing_else(doors: Doors) -> None:
    assert doors.url.startswith("https://127.0.0.1:")
    with (
        socket.create_connection(address_of(doors.url.replace("https", "http"))) as plain,
        plain.makefile("rb") as stream,
    ):
        plain.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" not in stream.read()


def test_health_is_open_and_all_else_wants_a_key(doors: Doors) -> None:
    assert doors.ask("/v2/health/ready")[0] == 200
    for path in (INFER, "/v2", "/v2/models/shop", "/metrics"):
        status, body, headers = doors.ask(path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer" in json.loads(body)["error"]


def test_scopes_and_deployments_bound_a_key_and_refusals_are_counted(doors: Doors) -> None:
    # given
    infer, metrics = doors.add("i"), doors.add("m", Scope.METRICS)
    other = doors.add("o", Scope.ADMIN, deployment="bank")
    eventually(lambda: doors.ask(INFER, infer)[0] == 200, what="the key")
    eventually(lambda: doors.ask("/metrics", metrics)[0] == 200, what="the key")

    # then
    assert doors.ask(INFER, metrics)[0] == 403
    assert doors.ask("/metrics", infer)[0] == 403
    assert doors.ask("/%6Detrics", infer)[0] == 403
    assert doors.ask(INFER, other)[0] == 401
    failures = doors.running.figures().failures
    assert failures["forbidden"] >= 3
    assert failures["unauthorized"] >= 1


def test_a_key_that_expires_is_refused_and_counted_without_a_restart(doors: Doors) -> None:
    # given: a key that was let in
    before, state = doors.workers(), doors.running.state
    token = doors.add("brief", expires="90d")
    eventually(lambda: all(doors.ask(INFER, token)[0] == 200 for _ in range(8)), what="the key at every worker")

    # when: its end is now
    open_key_rings(state).change(lambda ring: expired(ring, "brief"))

    # then
    eventually(lambda: all(doors.ask(INFER, token)[0] == 401 for _ in range(8)), what="the key's end")
    _, body, _ = doors.ask(INFER, token)
    assert "expired at 2020-01-01" in json.loads(body)["error"]
    assert doors.running.figures().failures["key_expired"] >= 8
    lines = read_logs(open_host(state), "shop")[0]
    assert "key_expired" in {line.get("cause") for line in lines}
    assert token[len("hyp_01234567_") :] not in str(lines)
    assert doors.workers() == before
    remove_key(open_host(state), open_key_rings(state), "brief")


def test_keys_are_replaced_within_a_second_and_nothing_is_restarted(doors: Doors) -> None:
    # given
    before = doors.workers()
    old = doors.add("old")
    eventually(lambda: all(doors.ask(INFER, old)[0] == 200 for _ in range(8)), what="the old key at every worker")

    # when: the new one comes, then the old one goes
    new = doors.add("new")
    eventually(lambda: all(doors.ask(INFER, new)[0] == 200 for _ in range(8)), what="the new key at every worker")
    assert doors.ask(INFER, old)[0] == 200
    remove_key(open_host(doors.running.state), open_key_rings(doors.running.state), "old")

    # then
    eventually(lambda: all(doors.ask(INFER, old)[0] == 401 for _ in range(8)), what="the old key's end")
    assert doors.ask(INFER, new)[0] == 200
    assert doors.workers() == before


def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(doors: Doors) -> None:
    # given: a connection under the old certificate
    assert doors.seen() == doors.pair.der
    before = doors.workers()
    plain = socket.create_connection(address_of(doors.url.replace("https", "http")))
    with doors.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as old:
        # when
        doors.pair = make_pair()
        doors.pair.put(doors.folder)
        eventually(lambda: all(doors.seen() == doors.pair.der for _ in range(8)), what="the new certificate")

        # then
        old.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in old.recv(4096)
    assert doors.workers() == before

    # and a broken one changes nothing, and is said
    (doors.folder / "key.pem").write_bytes(make_pair().key)
    (status,) = eventually(lambda: [d for d in doors.running.status().deployments if d.notes], what="the note")
    assert "workers go on with what they were told" in status.notes[0]
    assert doors.seen() == doors.pair.der
    doors.pair.put(doors.folder)
    eventually(lambda: not doors.running.status().deployments[0].notes, what="the end of the note")


def test_a_swap_under_tls_loses_no_client(doors: Doors, packages: Path) -> None:
    """Under TLS no connection is given to the new worker: each ends with an answer that says so."""
    # given: a connection that was answered once
    token = doors.add("swap")
    eventually(lambda: all(doors.ask(INFER, token)[0] == 200 for _ in range(8)), what="the key")
    body = infer_body()
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    plain = socket.create_connection(address_of(doors.url.replace("https", "http")))
    plain.settimeout(20)
    with doors.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as old, old.makefile("rb") as stream:
        old.sendall(head.encode() + body)
        assert read_answer(stream)[1]["hyperion-revision"] == "1"

        # when
        serve = {"port": 0, "require_key": True, "tls": doors.tls}
        doors.running.deploy(packages / "v2.hyperion", serve=serve, workers=2)

        # then: its next answer is its last
        old.sendall(head.encode() + body)
        status, headers, _ = read_answer(stream)
        assert (status, headers["connection"]) == (200, "close")
    assert doors.ask(INFER, token)[2]["hyperion-revision"] == "2"


def test_beyond_loopback_a_deployment_without_keys_is_refused(doors: Doors, packages: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        doors.running.deploy(packages / "v1.hyperion", name="open", serve={"port": 0, "host": "0.0.0.0"})  # noqa: S104
    assert caught.value.code == "config.insecure_host"
