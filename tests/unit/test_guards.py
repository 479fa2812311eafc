"""Keys and certificates as the supervisor holds them: read again when they change, kept where that fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.certificates import make_pair

from hyperion.domain.access import ApiKey, KeyRing, Scope, Token
from hyperion.domain.config import DeploymentConfig, Serve, TlsFiles
from hyperion.domain.deployment import Origin, Revision
from hyperion.errors import ConfigError, HyperionError
from hyperion.serving.guard import Guards, Watched
from hyperion.serving.tls import load_credentials

TOKEN = Token("0badcafe", "s" * 43)
BEYOND = "0.0.0.0"  # noqa: S104
LONG_PAST = datetime(2020, 1, 1, tzinfo=UTC)


class Rings:
    """Implements ports.KeyRings in memory."""

    def __init__(self, *keys: ApiKey) -> None:
        self.ring = KeyRing(keys=keys)

    def load(self) -> KeyRing:
        return self.ring

    def change(self, edit: Callable[[KeyRing], KeyRing]) -> KeyRing:
        self.ring = edit(self.ring)
        return self.ring

    def stamp(self) -> object:
        return self.ring


def key(deployment: str | None = None, scope: Scope = Scope.INFER, expires_at: datetime | None = None) -> ApiKey:
    return ApiKey(
        id=TOKEN.id, name="n", deployment=deployment, scopes=(scope,), digest=TOKEN.digest,
        created_at=datetime.now(UTC), expires_at=expires_at,
    )  # fmt: skip


def revision(serve: Serve) -> Revision:
    return Revision(
        deployment="shop", number=1, digest="sha256:" + "0" * 64, model="m", version="1.0.0",
        config=DeploymentConfig(name="shop", serve=serve), origin=Origin.DEPLOY, reason=None, replaces=None, actor="me",
        created_at=datetime.now(UTC),
    )  # fmt: skip


def files(folder: Path) -> TlsFiles:
    return TlsFiles(certificate=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def test_a_worker_is_told_the_keys_of_its_deployment_alone() -> None:
    guards = Guards(Rings(key("shop"), key("bank"), key(None)))
    told = guards.of(revision(Serve(require_key=True))).keys
    assert told is not None
    assert len(told) == 2


def test_a_worker_is_told_when_a_key_expires() -> None:
    (told,) = Guards(Rings(key(expires_at=LONG_PAST))).of(revision(Serve(require_key=True))).keys or []
    assert told.expires_at == LONG_PAST.timestamp()


def test_keys_that_expired_or_will_soon_are_said() -> None:
    soon = datetime.now(UTC) + timedelta(days=3)
    guards = Guards(Rings(key("shop"), key(expires_at=LONG_PAST), key("shop", expires_at=soon), key("bank")))
    said = guards.ends_of_keys(revision(Serve(require_key=True)))
    assert said == (
        "the API key 'n' expired at 2020-01-01 00:00:00Z ('hyperion key list')",
        f"the API key 'n' expires at {soon:%Y-%m-%d %H:%M:%SZ} ('hyperion key list')",
    )
    assert guards.ends_of_keys(revision(Serve())) == ()


def test_where_no_key_is_asked_for_none_is_told() -> None:
    assert Guards(Rings(key())).of(revision(Serve())).keys is None


def test_a_new_certificate_is_told(tmp_path: Path) -> None:
    # given
    make_pair().put(tmp_path)
    guards, served = Guards(Rings()), revision(Serve(tls=files(tmp_path)))
    before = guards.of(served)
    # when
    pair = make_pair()
    pair.put(tmp_path)
    # then
    after = guards.of(served)
    assert after.tls is not None
    assert after.tls.certificate.encode() == pair.certificate
    assert after != before


@pytest.mark.parametrize("fault", ["gone", "other key", "no PEM"])
def test_a_broken_new_file_leaves_the_old_certificate_and_is_said(tmp_path: Path, fault: str) -> None:
    # given
    make_pair().put(tmp_path)
    guards, served = Guards(Rings()), revision(Serve(tls=files(tmp_path)))
    before = guards.of(served)
    # when
    match fault:
        case "gone":
            (tmp_path / "cert.pem").unlink()
        case "other key":
            (tmp_path / "key.pem").write_bytes(make_pair().key)
        case _:
            (tmp_path / "cert.pem").write_bytes(b"\xff hello")
    # then
    assert guards.of(served) == before
    (said,) = guards.faults(served.config.serve)
    assert str(tmp_path) in said
    assert "workers go on with what they were told" in said
    # and when it is mended, nothing is said any more
    make_pair().put(tmp_path)
    assert guards.of(served) != before
    assert guards.faults(served.config.serve) == ()


def test_a_certificate_that_was_never_good_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Guards(Rings()).require(DeploymentConfig(name="shop", serve=Serve(tls=files(tmp_path))))
    assert caught.value.code == "config.tls"
    assert "cert.pem" in caught.value.message


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    pair = make_pair()
    pair.put(tmp_path)
    private = load_pem_private_key(pair.key, None)
    sealed = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "key.pem").write_bytes(sealed)
    with pytest.raises(ConfigError) as caught:
        load_credentials(files(tmp_path))
    assert caught.value.code == "config.tls"
    assert "encrypted" in caught.value.message


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        ((), False),
        ((key("bank"),), False),
        ((key(scope=Scope.METRICS),), False),
        ((key("shop", expires_at=LONG_PAST),), False),
        ((key("shop"),), True),
    ],
    ids=["none", "of another deployment", "that opens no inference", "expired", "its own"],
)
def test_beyond_loopback_a_key_must_be_there(tmp_path: Path, keys: tuple[ApiKey, ...], allowed: bool) -> None:
    make_pair().put(tmp_path)
    config = DeploymentConfig(name="shop", serve=Serve(host=BEYOND, require_key=True, tls=files(tmp_path)))
    guards = Guards(Rings(*keys))
    if allowed:
        guards.require(config)
        return
    with pytest.raises(ConfigError) as caught:
        guards.require(config)
    assert caught.value.code == "config.insecure_host"
    assert "hyperion key add" in caught.value.message


def test_what_could_never_be_read_is_asked_for_again() -> None:
    # given
    found: list[str] = []

    def load() -> str:
        if not found:
            raise HyperionError("not yet")
        return found[0]

    watched = Watched(lambda: "the same", load)
    with pytest.raises(HyperionError):
        watched.latest()
    # when
    found.append("now")
    # then
    assert watched.latest() == "now"
    assert watched.fault is None
