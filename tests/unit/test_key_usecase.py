"""API keys are made, listed and taken away; what is kept of one opens nothing."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.values import make_revision

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.store.key_ring_file import LocalKeyRings
from hyperion.bootstrap import open_host
from hyperion.domain.access import Scope, parse_token
from hyperion.domain.event import EventKind
from hyperion.errors import ConfigError, ConflictError, NotFoundError
from hyperion.ports import Host
from hyperion.usecases.key import add_key, list_keys, remove_key

INFER = (Scope.INFER,)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def host(state: Path) -> Host:
    return open_host(state)


@pytest.fixture
def rings(state: Path) -> LocalKeyRings:
    return LocalKeyRings(state, AtomicFiles())


def test_the_token_is_kept_nowhere_and_its_digest_is(host: Host, rings: LocalKeyRings, state: Path) -> None:
    # when
    added = add_key(host, rings, "web", INFER, "shop")

    # then
    token = parse_token(added.token)
    assert token is not None
    (kept,) = rings.load().keys
    assert (kept.digest, kept.id, kept.deployment) == (token.digest, token.id, "shop")
    files = [path for path in state.rglob("*") if path.is_file()]
    assert not [path for path in files if token.secret.encode() in path.read_bytes()]
    assert stat.S_IMODE((state / "keys.json").stat().st_mode) == 0o600


def test_a_key_says_whether_the_deployment_that_it_opens_is_known_here(host: Host, rings: LocalKeyRings) -> None:
    # given
    host.ledger.create_revision(make_revision(deployment="shop"))

    # when
    named = {name: add_key(host, rings, name, INFER, name).deployment_known for name in ("shop", "shpo")}
    of_all = add_key(host, rings, "all", INFER).deployment_known

    # then
    assert named == {"shop": True, "shpo": False}
    assert of_all


def test_every_key_has_256_bits_of_its_own(host: Host, rings: LocalKeyRings) -> None:
    found = [parse_token(add_key(host, rings, f"k{n}", INFER).token) for n in range(5)]
    secrets = {token.secret for token in found if token is not None}
    assert len(secrets) == 5
    assert all(len(secret) == 43 for secret in secrets)  # 32 bytes as base64 without padding


def test_adding_and_removing_are_in_the_ledger_without_the_secret(host: Host, rings: LocalKeyRings) -> None:
    added = add_key(host, rings, "web", INFER, "shop")
    remove_key(host, rings, "web")
    made, gone = host.ledger.events()
    assert (made.kind, gone.kind) == (EventKind.KEY_ADDED, EventKind.KEY_REMOVED)
    assert (made.deployment, made.data["name"], made.data["scopes"]) == ("shop", "web", "infer")
    assert added.token not in str(made.data)


def test_a_key_is_removed_by_its_id_or_its_name(host: Host, rings: LocalKeyRings) -> None:
    by_id, by_name = (add_key(host, rings, name, INFER).key for name in "ab")
    remove_key(host, rings, by_id.id)
    assert [key.name for key in list_keys(host, rings).keys] == ["b"]
    remove_key(host, rings, by_name.name)
    assert list_keys(host, rings).keys == ()


def test_an_id_goes_before_a_name_that_looks_like_it(host: Host, rings: LocalKeyRings) -> None:
    first = add_key(host, rings, "first", INFER).key
    add_key(host, rings, first.id, INFER)
    assert remove_key(host, rings, first.id).key.name == "first"


def test_a_key_that_is_not_there_is_said(host: Host, rings: LocalKeyRings) -> None:
    with pytest.raises(NotFoundError) as caught:
        remove_key(host, rings, "web")
    assert caught.value.code == "key.not_found"


def test_a_name_is_given_once(host: Host, rings: LocalKeyRings) -> None:
    add_key(host, rings, "web", INFER)
    with pytest.raises(ConflictError) as caught:
        add_key(host, rings, "web", INFER)
    assert caught.value.code == "key.exists"


@pytest.mark.parametrize(
    ("expires", "expected"),
    [
        ("90d", None),
        ("2999-02-28", datetime(2999, 3, 1, tzinfo=UTC)),
        ("2999-02-28T18:00:00+01:00", datetime(2999, 2, 28, 17, tzinfo=UTC)),
    ],
)
def test_a_key_ends_after_days_or_with_a_day_or_at_a_time(
    host: Host, rings: LocalKeyRings, expires: str, expected: datetime | None
) -> None:
    # when
    key = add_key(host, rings, "web", INFER, expires=expires).key

    # then
    assert key.expires_at == (expected or key.created_at + timedelta(days=90))
    assert list_keys(host, rings).keys == (key,)
    (made,) = host.ledger.events()
    assert key.expires_at is not None
    assert made.data["expires_at"] == key.expires_at.isoformat()


@pytest.mark.parametrize("expires", ["", "soon", "0d", "-3d", "999999d", "90", "2020-01-01", "2027-03-01 18:00"])
def test_an_end_that_is_none_or_past_is_refused(host: Host, rings: LocalKeyRings, expires: str) -> None:
    with pytest.raises(ConfigError) as caught:
        add_key(host, rings, "web", INFER, expires=expires)
    assert caught.value.code == "key.expires"
    assert list_keys(host, rings).keys == ()


def test_a_ring_that_an_earlier_version_wrote_has_keys_without_an_end(
    host: Host, rings: LocalKeyRings, state: Path
) -> None:
    # given
    add_key(host, rings, "web", INFER)
    ring = json.loads((state / "keys.json").read_text())
    del ring["keys"][0]["expires_at"]
    # when
    (state / "keys.json").write_text(json.dumps(ring))
    # then
    assert [key.expires_at for key in list_keys(host, rings).keys] == [None]


@pytest.mark.parametrize(("name", "deployment"), [("", None), ("x" * 101, None), ("web", "no/name")])
def test_a_name_that_cannot_be_is_refused(host: Host, rings: LocalKeyRings, name: str, deployment: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        add_key(host, rings, name, INFER, deployment)
    assert caught.value.code == "key.name"
    assert list_keys(host, rings).keys == ()


def test_keys_that_are_made_at_the_same_time_are_all_kept(state: Path, host: Host) -> None:
    def add(number: int) -> None:
        add_key(host, LocalKeyRings(state, AtomicFiles()), f"k{number}", INFER)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(12)))
    assert len(LocalKeyRings(state, AtomicFiles()).load().keys) == 12


def test_a_damaged_ring_is_named_and_not_replaced(host: Host, rings: LocalKeyRings, state: Path) -> None:
    # given
    add_key(host, rings, "web", INFER)
    (state / "keys.json").write_text('{"keys": [{"id": 1}]}')
    # when
    with pytest.raises(ConfigError) as caught:
        add_key(host, rings, "other", INFER)
    # then
    assert caught.value.code == "keys.malformed"
    assert "keys.json" in caught.value.message
    assert (state / "keys.json").read_text() == '{"keys": [{"id": 1}]}'


def test_the_stamp_changes_with_the_ring(host: Host, rings: LocalKeyRings) -> None:
    before = rings.stamp()
    add_key(host, rings, "web", INFER)
    assert rings.stamp() != before
    assert rings.stamp() == rings.stamp()
