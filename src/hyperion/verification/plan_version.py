"""The checklist's question on versions: does the number tell the clients of the active revision what they will feel?"""

from __future__ import annotations

from hyperion.domain.caller import CallerView
from hyperion.domain.deployment import Revision
from hyperion.domain.digest import short
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.step import StepVerdict, judge_step, next_version
from hyperion.domain.version import Step, Version
from hyperion.errors import ConfigError, NotFoundError, PackageError
from hyperion.format.package import PackageReader
from hyperion.ports import Host

VERSION_STEP = "plan.version_step"


def check_version_step(host: Host, package: PackageReader, active: Revision | None, *, rescue: bool) -> Finding:
    """Whether the package takes at least the step from the active revision's that callers feel.

    It fails where the number promises clients less than happens to them. A lower version, and another package of
    the same version that clients do not feel, only warn; so does everything on a rescue.

    Args:
        host: This host.
        package: What is to be deployed.
        active: What the deployment serves now, None where nothing.
        rescue: Whether it is a rollback.
    """
    version = package.manifest.version
    if active is None:
        return Finding(check=VERSION_STEP, outcome=Outcome.PASSED, summary=f"{version} is the deployment's first one")
    if active.digest == package.digest:
        return Finding(check=VERSION_STEP, outcome=Outcome.PASSED, summary=f"{version} is this very package already")
    try:
        with host.store.open(active.digest) as serving:
            before = CallerView.of(serving.manifest)
    except (PackageError, ConfigError, NotFoundError) as error:
        return Finding(
            check=VERSION_STEP,
            outcome=Outcome.SKIPPED,
            summary=f"{active.version} → {version}",
            reason=f"the active revision's package cannot be read: {error.message}",
        )
    verdict = judge_step(before, active.version, CallerView.of(package.manifest), version)
    return _on_rescue(verdict) if rescue else _on_deploy(verdict, active)


def _on_deploy(verdict: StepVerdict, active: Revision) -> Finding:
    reasons = "; ".join(str(reason) for reason in verdict.decisive)
    finding = Finding(
        check=VERSION_STEP,
        outcome=Outcome.PASSED,
        summary=verdict.sentence,
        measured=None if verdict.taken is None else verdict.taken.value,
        limit=verdict.required.value,
    )
    if verdict.honest:
        return finding
    if verdict.honest is None:
        return finding.model_copy(
            update={
                "outcome": Outcome.WARNED,
                "reason": f"a deploy usually goes forward; this one is allowed{f': {reasons}' if reasons else ''}",
                "hint": "where you mean to go back, 'hyperion rollback model' records why",
            }
        )
    if verdict.required is Step.PATCH:
        return finding.model_copy(
            update={
                "outcome": Outcome.WARNED,
                "reason": f"another package is active under this version ({short(active.digest)})",
                "hint": "raise it with 'hyperion version update F --patch'",
            }
        )
    wanted = next_version(Version.parse(verdict.before), verdict.required)
    return finding.model_copy(
        update={
            "outcome": Outcome.FAILED,
            "reason": reasons,
            "hint": f"make it {wanted} or later ('hyperion version update F --{verdict.required}'), "
            "or let it pass with --override REASON",
        }
    )


def _on_rescue(verdict: StepVerdict) -> Finding:
    """A way back must not be refused, but what its clients will feel is worth a word."""
    if verdict.required is not Step.MAJOR:
        return Finding(check=VERSION_STEP, outcome=Outcome.PASSED, summary=f"{verdict.sentence}: nothing breaks")
    return Finding(
        check=VERSION_STEP,
        outcome=Outcome.WARNED,
        summary=verdict.sentence,
        reason="; ".join(str(reason) for reason in verdict.decisive),
        hint="clients of the active revision may fail: tell them",
    )
