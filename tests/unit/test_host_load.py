"""All deployments of a host together: what they claim at the worst moment of a rollout, and whether there is room."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import START
from tests.fakes.stage import Stage
from tests.fakes.values import make_draft

from hyperion.cli.render import make_console
from hyperion.cli.render_deployment import show_status
from hyperion.domain.command import WarmRevision
from hyperion.domain.config import DeploymentConfig, MemoryBudget, Serve
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.host_load import Claim, claim_of, claims_during, memory_of
from hyperion.usecases.deploy import DeployResult
from hyperion.usecases.status import read_status
from hyperion.verification.plan_host import check_host_load

MIB = 1024**2
HOST_MIB = 16 * 1024
"""What the stage's machine has."""


def config(budget_mb: int | None, **fields: Any) -> DeploymentConfig:
    return DeploymentConfig(memory=MemoryBudget(budget_mb=budget_mb), **fields)


def found(result: DeployResult, check: str) -> Finding:
    return next(finding for finding in result.checklist.findings if finding.check == check)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def deploy(stage: Stage, seed: int, budget_mb: int | None, name: str = "tiny", **fields: Any) -> DeployResult:
    serve = Serve(port=9000 + len(stage.ledger.deployments()))
    return stage.deploy(
        seed, version=f"1.{seed}.0", name=name, config=config(budget_mb, serve=fields.pop("serve", serve), **fields)
    )


def test_workers_and_the_spare_one_each_have_the_budget() -> None:
    claim = claim_of(config(100, name="a", workers=3, threads=2, warm_spare=True), "revision 1")

    assert (claim.memory_bytes, claim.threads) == (400 * MIB, 6)


def test_without_a_budget_what_was_measured_counts() -> None:
    assert claim_of(config(None, name="a"), "new").memory_bytes is None
    assert claim_of(config(None, name="a", workers=2), "new", measured_bytes=30).memory_bytes == 60


@given(st.lists(st.integers(0, 100), max_size=5), st.integers(0, 100), st.booleans())
def test_a_rollout_claims_no_less_than_what_it_leads_to(now: list[int], new: int, recreate: bool) -> None:
    claims = [Claim("ab"[index % 2], f"revision {index}", 1, size) for index, size in enumerate(now)]
    candidate = Claim("a", "the new revision", 1, new)

    during = memory_of(claims_during(claims, candidate, recreate=recreate))

    others = sum(claim.memory_bytes or 0 for claim in claims if claim.deployment == "b")
    assert others + new <= during <= sum(now) + new


def test_what_is_over_the_hosts_memory_is_denied_before_anything_starts(stage: Stage) -> None:
    deploy(stage, 0, 7000, name="other")

    result = deploy(stage, 1, 10_000)

    assert [finding.check for finding in result.denied_by] == ["plan.host_memory"]
    assert found(result, "plan.host_memory").reason == "other (revision 1) 7000 MiB; tiny (the new revision) 10000 MiB"
    assert [known.name for known in stage.ledger.deployments()] == ["other"]


def test_an_override_does_not_make_memory(stage: Stage) -> None:
    assert not stage.deploy(config=config(HOST_MIB + 1), override="please").allowed


def test_the_old_revision_counts_beside_the_new_one_but_not_with_recreate(stage: Stage) -> None:
    place = Serve(port=9000)
    deploy(stage, 0, 9000, serve=place)
    stage.backup()

    beside = deploy(stage, 1, 9000, serve=place)
    after = deploy(stage, 1, 9000, serve=place, strategy="recreate")

    assert not beside.allowed
    assert after.promoted


def test_what_is_kept_warm_counts(stage: Stage) -> None:
    first = deploy(stage, 0, 6000, serve=Serve(port=9000)).revision
    assert first is not None
    stage.control.warm = WarmRevision(revision=first.model_copy(update={"number": 7}), until=START, resident_bytes=None)

    result = deploy(stage, 1, 6000, serve=Serve(port=9000))

    assert not result.allowed
    assert "tiny (revision 7, kept warm) 6000 MiB" in str(found(result, "plan.host_memory").reason)


def test_what_is_stopped_claims_nothing(stage: Stage) -> None:
    deploy(stage, 0, HOST_MIB, name="other")
    stage.ledger.stop("other", make_draft(EventKind.DEPLOYMENT_STOPPED, "other"))

    assert deploy(stage, 1, HOST_MIB).promoted


def test_what_has_no_budget_is_named(stage: Stage) -> None:
    deploy(stage, 0, None, name="other")

    assert "no memory.budget_mb: other" in found(deploy(stage, 1, 100), "plan.host_memory").summary


def test_the_very_same_again_needs_no_room(stage: Stage) -> None:
    same = config(9000)
    stage.deploy(config=same)

    assert stage.deploy(config=same).unchanged


def test_more_threads_than_cores_only_warn() -> None:
    claims = [Claim("a", "revision 1", 2, None), Claim("a", "revision 0, kept warm", 9, None, rests=True)]
    claims.append(Claim("b", "the new revision", 3, None))

    memory, cores = check_host_load(claims, claims, None, 4)

    assert (memory.outcome, cores.outcome) == (Outcome.SKIPPED, Outcome.WARNED)
    assert cores.reason == "they will wait for each other: a (revision 1) 2; b (the new revision) 3"


def test_status_tells_what_is_claimed_of_the_host(stage: Stage) -> None:
    deploy(stage, 0, 300, workers=2)
    deploy(stage, 1, None, name="other")
    page = StringIO()

    status = read_status(stage.host)
    show_status(make_console(page), status)

    assert (status.memory.claimed_bytes, status.memory.host_bytes) == (600 * MIB, HOST_MIB * MIB)
    assert f"memory: budgets of 600 MiB; this host has {HOST_MIB} MiB" in page.getvalue()
    assert "without a budget: other" in page.getvalue()
