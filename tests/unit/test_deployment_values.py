"""How deployments are found by name and by digest, and what their documents know of themselves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.fakes.clock import START
from tests.fakes.values import make_revision

from hyperion.domain.config import Serve
from hyperion.domain.deployment import Deployment, find_deployment, match_digest
from hyperion.domain.digest import digest_of
from hyperion.domain.history import RevisionState, trace_revisions
from hyperion.errors import ConflictError, NotFoundError

A, B = digest_of(b"a"), digest_of(b"b")


def make_deployment(name: str) -> Deployment:
    return Deployment(
        name=name, desired_revision=None, active_revision=None, last_active_revision=None, created_at=START
    )


def test_the_only_revision_of_a_digest_is_found() -> None:
    revision = make_revision(1, "one", digest=A)

    assert match_digest([revision, make_revision(1, "two", digest=B)], A) == revision


def test_a_name_chooses_among_several_of_one_digest() -> None:
    one, two = make_revision(1, "one", digest=A), make_revision(4, "two", digest=A)

    assert match_digest([one, two], A, "two") == two


def test_several_of_one_digest_without_a_name_are_a_conflict_that_lists_them() -> None:
    active = [make_revision(1, "one", digest=A), make_revision(1, "two", digest=A)]

    with pytest.raises(ConflictError) as refusal:
        match_digest(active, A)

    assert refusal.value.code == "deployment.ambiguous"
    assert "one, two" in refusal.value.message
    assert "--name" in str(refusal.value.hint)


def test_a_digest_that_nothing_serves_is_not_found_and_what_is_active_is_listed() -> None:
    with pytest.raises(NotFoundError) as refusal:
        match_digest([make_revision(3, "one", digest=A)], B)

    assert refusal.value.code == "deployment.package_not_active"
    assert "one (r3" in refusal.value.message


def test_a_named_deployment_of_another_digest_is_not_found() -> None:
    active = [make_revision(1, "one", digest=A), make_revision(1, "two", digest=B)]

    with pytest.raises(NotFoundError) as refusal:
        match_digest(active, A, "two")

    assert refusal.value.code == "deployment.package_not_active"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_name_that_nothing_active_bears_is_not_found(count: int) -> None:
    active = [make_revision(1, f"d{number}", digest=A) for number in range(count)]

    with pytest.raises(NotFoundError) as refusal:
        match_digest(active, A, "nobody")

    assert refusal.value.code == "deployment.not_found"


def test_current_model_stands_for_the_only_active_deployment() -> None:
    one, two = make_revision(1, "one", digest=A), make_revision(1, "two", digest=A)

    assert match_digest([one], A, "current_model") == one
    with pytest.raises(NotFoundError):
        match_digest([one, two], A, "current_model")


def test_a_deployment_is_found_by_name_before_the_only_one() -> None:
    current, other = make_deployment("current_model"), make_deployment("other")

    assert find_deployment([current, other], "current_model") == current
    assert find_deployment([other], "current_model") == other
    with pytest.raises(NotFoundError):
        find_deployment([], "current_model")


def test_current_model_of_several_deployments_says_that_one_must_be_named() -> None:
    with pytest.raises(NotFoundError, match="this host has several: one, two") as caught:
        find_deployment([make_deployment("one"), make_deployment("two")], "current_model")

    assert caught.value.hint == "name one of them (--name)"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", ".x", "a@r1", "x" * 64, "a b", "a\n"])
def test_a_deployments_name_is_safe_as_a_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        make_deployment(name)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.255.0.9", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("", False), ("LOCALHOST", False), ("a.local", False),  # noqa: S104
    ],
)  # fmt: skip
def test_loopback_is_told_from_the_address_alone(host: str, loopback: bool) -> None:
    assert Serve(host=host).is_loopback is loopback


def test_a_revision_that_no_event_speaks_of_is_only_created() -> None:
    (history,) = trace_revisions([make_revision(1)], [])

    assert (history.state, history.settled_at) == (RevisionState.CREATED, None)
