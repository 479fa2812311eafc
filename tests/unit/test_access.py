"""API keys: what they open, and who is let in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hyperion.domain.access import ApiKey, KeyRing, Scope, Token, Validity, parse_token, what_is_open
from hyperion.domain.config import Serve, TlsFiles
from hyperion.serving.channel import KeyGrant
from hyperion.serving.door import Arrivals
from hyperion.serving.keys import KeyCheck

TOKEN = Token("0badcafe", "s" * 43)
INFER = "/v2/models/shop/infer"
BEYOND = "0.0.0.0"  # noqa: S104
TLS = TlsFiles(certificate="/c.pem", key="/k.pem")


def grant(*scopes: str, token: Token = TOKEN) -> KeyGrant:
    return KeyGrant(token.id, token.digest, list(scopes))


def shown(token: object) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", f"Bearer {token}".encode())]


def status(check: KeyCheck, path: str, headers: list[tuple[bytes, bytes]]) -> int | None:
    refused = check.refusal(path, headers)
    return None if refused is None else refused.status


@pytest.mark.parametrize(
    ("scopes", "path", "expected"),
    [
        (("infer",), INFER, None), (("infer",), "/v2", None), (("infer",), "/metrics", 403),
        (("metrics",), "/metrics", None), (("metrics",), "/metrics/", None), (("metrics",), INFER, 403),
        (("admin",), INFER, None), (("admin",), "/metrics", None), (("infer", "metrics"), "/metrics", None),
    ],
)  # fmt: skip
def test_a_key_opens_what_its_scopes_say(scopes: tuple[str, ...], path: str, expected: int | None) -> None:
    assert status(KeyCheck([grant(*scopes)]), path, shown(TOKEN)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic eDp5")],
        [(b"authorization", b"Bearer ")],
        shown("hyp_0badcafe_" + "t" * 43),
        shown("hyp_00000000_" + "s" * 43),
        shown("0badcafe"),
        shown("hyp_0badcafe_" + "s" * 100_000),
        [(b"authorization", b"Bearer \xff\xfe")],
        [*shown(TOKEN), *shown(TOKEN)],
    ],
    ids=["none", "other scheme", "empty", "other secret", "other id", "no token", "huge", "no text", "twice"],
)
def test_who_shows_no_key_of_ours_is_not_let_in(headers: list[tuple[bytes, bytes]]) -> None:
    assert status(KeyCheck([grant("admin")]), INFER, headers) == 401


def test_the_scheme_is_read_in_any_case() -> None:
    assert status(KeyCheck([grant("infer")]), INFER, [(b"authorization", f"bEARER {TOKEN}".encode())]) is None


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/health/ready/"])
def test_health_needs_no_key(path: str) -> None:
    assert status(KeyCheck([]), path, []) is None


def test_without_a_demand_everybody_is_let_in() -> None:
    assert status(KeyCheck(None), INFER, []) is None


def test_a_ring_without_keys_lets_nobody_in() -> None:
    assert status(KeyCheck([]), INFER, shown(TOKEN)) == 401


def test_a_refusal_does_not_repeat_the_key() -> None:
    refused = KeyCheck([]).refusal(INFER, shown(TOKEN))
    assert refused is not None
    assert TOKEN.secret not in refused.message


@pytest.mark.parametrize("text", ["", "hyp", "hyp_", "hyp_x", "hyp__y", "abc_x_y"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert parse_token(text) is None


def test_a_token_is_read_back_also_with_an_underscore_in_its_secret() -> None:
    token = Token("01234567", "a_b-c_")
    assert parse_token(str(token)) == token


def test_a_key_of_one_deployment_opens_no_other() -> None:
    key = ApiKey(
        id="0badcafe", name="n", deployment="shop", scopes=(Scope.INFER,), digest=TOKEN.digest,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    ring = KeyRing(keys=(key,))
    now = datetime.now(UTC)
    assert ring.opens("shop", Scope.INFER, now)
    assert not ring.opens("shop", Scope.METRICS, now)
    assert not ring.opens("bank", Scope.INFER, now)


def ending(at: datetime) -> ApiKey:
    return ApiKey(
        id="0badcafe", name="n", scopes=(Scope.INFER,), digest=TOKEN.digest, created_at=at - timedelta(days=90),
        expires_at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (timedelta(days=14, seconds=1), Validity.OPEN), (timedelta(days=14), Validity.NEAR_EXPIRY),
        (timedelta(microseconds=1), Validity.NEAR_EXPIRY), (timedelta(0), Validity.EXPIRED),
        (timedelta(days=-9), Validity.EXPIRED),
    ],
)  # fmt: skip
def test_a_key_is_near_its_end_for_two_weeks_and_then_expired(before: timedelta, expected: Validity) -> None:
    end = datetime(2027, 3, 1, tzinfo=UTC)
    assert ending(end).validity(end - before) is expected


def test_an_expired_key_opens_a_deployment_to_nobody() -> None:
    end = datetime(2027, 3, 1, tzinfo=UTC)
    ring = KeyRing(keys=(ending(end),))
    assert ring.opens("shop", Scope.INFER, end - timedelta(seconds=1))
    assert not ring.opens("shop", Scope.INFER, end)


@pytest.mark.parametrize(("now_s", "expected"), [(999.9, None), (1000.0, "key_expired")])
def test_a_key_expires_by_the_clock_of_who_checks_it(now_s: float, expected: str | None) -> None:
    check = KeyCheck([KeyGrant(TOKEN.id, TOKEN.digest, ["admin"], 1000.0)], now_s=lambda: now_s)
    refused = check.refusal(INFER, shown(TOKEN))
    assert (None if refused is None else refused.cause) == expected


def test_who_shows_an_expired_key_is_told_which_and_when_and_not_its_secret() -> None:
    refused = KeyCheck([KeyGrant(TOKEN.id, TOKEN.digest, ["infer"], 0.0)]).refusal(INFER, shown(TOKEN))
    assert refused == (401, "key_expired", "the API key 0badcafe expired at 1970-01-01 00:00:00Z")


def test_whether_a_key_expired_is_told_only_to_who_has_it() -> None:
    refused = KeyCheck([KeyGrant(TOKEN.id, TOKEN.digest, ["infer"], 0.0)]).refusal(
        INFER, shown(Token(TOKEN.id, "t" * 43))
    )
    assert refused is not None
    assert refused.cause == "unauthorized"


@pytest.mark.parametrize(
    ("serve", "lacks"),
    [
        (Serve(), 0), (Serve(host="::1"), 0), (Serve(host=BEYOND, insecure=True), 0),
        (Serve(host=BEYOND), 2), (Serve(host=BEYOND, tls=TLS), 1), (Serve(host=BEYOND, require_key=True), 1),
        (Serve(host=BEYOND, require_key=True, tls=TLS), 0),
    ],
)  # fmt: skip
def test_beyond_loopback_key_and_tls_are_needed(serve: Serve, lacks: int) -> None:
    assert len(what_is_open(serve, has_key=True)) == lacks


def test_beyond_loopback_a_demand_for_keys_needs_one_that_exists() -> None:
    (missing,) = what_is_open(Serve(host=BEYOND, require_key=True, tls=TLS), has_key=False)
    assert "hyperion key add" in missing


def test_new_connections_come_at_their_rate_after_one_seconds_worth() -> None:
    # given: two a second
    arrivals = Arrivals(2.0)
    assert [arrivals.admits(100.0) for _ in range(3)] == [True, True, False]
    # then: half a second brings one more, a long pause no more than two
    assert [arrivals.admits(100.5), arrivals.admits(100.5)] == [True, False]
    assert [arrivals.admits(200.0) for _ in range(3)] == [True, True, False]


def test_a_rate_below_one_lets_one_in_at_once() -> None:
    arrivals = Arrivals(0.1)
    assert [arrivals.admits(0.0), arrivals.admits(9.0), arrivals.admits(10.1)] == [True, False, True]


def test_without_a_rate_all_may_come() -> None:
    assert all(Arrivals(None).admits(0.0) for _ in range(1000))
