"""`version compare`, and the rule that a version takes at least the step that its contents ask for."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.caller import CallerView
from hyperion.domain.comparison import (
    ComparedPackage,
    VersionComparison,
    entry_changes,
    judge_packages,
    metadata_changes,
    order_of,
    signature_changes,
)
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import PROCESSING, Manifest
from hyperion.domain.step import StepVerdict, covers, judge_step, next_version, step_taken
from hyperion.domain.swap import judge_swap
from hyperion.domain.version import Step, Version
from hyperion.errors import ConflictError
from hyperion.format.package import PackageReader
from hyperion.ports import Host, Reporter
from hyperion.usecases.migrate import plan_migration
from hyperion.verification.difference import compare_layers

PARENT_STEP = "version.parent"
"""Check of a package's version against that of its parent."""


def compare_versions(
    host: Host,
    a: Path,
    b: Path,
    reporter: Reporter,
    *,
    quick: bool = False,
    dataset: Path | None = None,
    plan: bool = False,
) -> VersionComparison:
    """Compare two packages: what callers feel, every layer, everything else, and on a dataset the answers.

    Args:
        host: This host.
        a: The package before, in any form.
        b: The package after.
        reporter: Where progress goes.
        quick: Read the manifests alone; else also the layers whose digests differ, and nothing more.
        dataset: A folder as `verify performance` takes it, on which both models are run.
        plan: Go through the guide's points for the step; B is loaded and its golden requests are run.

    Raises:
        NotFoundError: There is nothing at one of the paths.
        PackageError: One of them is no package, or a layer that must be read is damaged.
        ConfigError: A does not take the dataset.
        EngineError: A does not load.
        HostError: No child can be started.
    """
    with host.packages.open(a) as first, host.packages.open(b) as second:
        old, new = first.manifest, second.manifest
        is_identical = first.digest == second.digest
        step = judge_packages(old, new, is_identical=is_identical)
        answers = None  # before the layers, which take long: a dataset that is none is refused at once
        if dataset is not None:
            from hyperion.verification.answers import compare_answers

            answers = compare_answers(host, (a, first), (b, second), dataset, reporter)
        layers = compare_layers(host, first, second, reporter, quick=quick)
        configs = entry_changes(old, new)
        comparison = VersionComparison(
            before=_side(a, first),
            after=_side(b, second),
            order=order_of(Version.parse(old.version), Version.parse(new.version)),
            is_identical=is_identical,
            step=step,
            signature=signature_changes(old.signature, new.signature),
            processing=tuple(change for change in configs if change.path == PROCESSING),
            layers=layers,
            configs=tuple(change for change in configs if change.path != PROCESSING),
            metadata=metadata_changes(old, new),
            answers=answers,
            safe_to_swap=judge_swap(step, answers, names=(old.name, new.name), is_identical=is_identical),
        )
        if plan:
            points = plan_migration(host, comparison, first, second, reporter)
            comparison = comparison.model_copy(update={"plan": points})
        return comparison


def _side(path: Path, package: PackageReader) -> ComparedPackage:
    manifest = package.manifest
    return ComparedPackage(
        source=str(path),
        name=manifest.name,
        version=manifest.version,
        digest=package.digest,
        total_bytes=manifest.total_bytes,
        weights_bytes=manifest.weights_bytes,
    )


def require_honest_step(manifest: Manifest, after: Version) -> None:
    """Demand that ``after`` is no smaller a step from the parent of ``manifest`` than its contents ask for.

    A package without a parent may have any version.

    Raises:
        ConflictError: Names the fields that ask for more, and what would do (code ``version.step_too_small``).
    """
    verdict = _parent_verdict(manifest, after)
    if verdict is None or verdict.honest:
        return
    wanted = next_version(Version.parse(verdict.before), verdict.required)
    raise ConflictError(
        f"{manifest.name}: from its parent, {verdict.sentence}: {_why(verdict)}",
        hint=_way_out(manifest, verdict, wanted),
        code="version.step_too_small",
        expected=f"{wanted} or later",
        actual=str(after),
    )


def step_finding(manifest: Manifest) -> Finding:
    """Whether a package's version takes the step from its parent's that its contents ask for.

    Skipped without a parent. It warns where the step is too small and never fails: `version update` and the deploy gate
    are what refuses it.
    """
    verdict = _parent_verdict(manifest, Version.parse(manifest.version))
    if verdict is None:
        return Finding(
            check=PARENT_STEP,
            outcome=Outcome.SKIPPED,
            summary="there is no parent to compare with",
            reason="the package was made without --parent",
        )
    wanted = next_version(Version.parse(verdict.before), verdict.required)
    return Finding(
        check=PARENT_STEP,
        outcome=Outcome.PASSED if verdict.honest else Outcome.WARNED,
        summary=f"from its parent, {verdict.sentence}",
        reason=None if verdict.honest else _why(verdict),
        hint=None if verdict.honest else _way_out(manifest, verdict, wanted),
        measured=verdict.after,
        limit=str(wanted),
    )


def _parent_verdict(manifest: Manifest, after: Version) -> StepVerdict | None:
    parent = manifest.parent
    if parent is None:
        return None
    return judge_step(CallerView.of(parent), parent.version, CallerView.of(manifest), str(after))


def _why(verdict: StepVerdict) -> str:
    return "; ".join(str(reason) for reason in verdict.decisive) or "its digest is another one"


def _way_out(manifest: Manifest, verdict: StepVerdict, wanted: Version) -> str:
    """The flag of `version update` that leads to an honest version; else a new package."""
    own, before = Version.parse(manifest.version), Version.parse(verdict.before)
    for step in reversed(Step):
        if covers(step_taken(before, own.bump(step)), verdict.required):
            return f"'hyperion version update F --{step}' makes it {own.bump(step)}"
    return f"package it again with --version {wanted}"
