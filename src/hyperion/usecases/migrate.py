"""`version compare --plan`: the guide's points for the step at hand, with what is known of each and what is left."""

from __future__ import annotations

import shlex
from pathlib import Path

from hyperion.domain.comparison import VersionComparison
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import ARCHITECTURE, Manifest
from hyperion.domain.migration import GUIDE, MigrationPoint
from hyperion.domain.version import Step, Version
from hyperion.errors import HyperionError
from hyperion.format.package import PackageReader
from hyperion.ports import Host, Reporter

_DOCUMENTS = (".md", ".txt", ".rst")


def plan_migration(
    host: Host, comparison: VersionComparison, before: PackageReader, after: PackageReader, reporter: Reporter
) -> tuple[MigrationPoint, ...]:
    """Every point of the guide for the required step, in its order.

    B is loaded in a child, and its golden requests are run there.

    Args:
        host: This host; its ledger says what serves A and where it is backed up.
        comparison: All that was found so far.
        before: Package A, opened.
        after: Package B, opened.
        reporter: Where progress goes.

    Raises:
        HostError: No child can be started.
    """
    facts = _Facts(host, comparison, before.manifest, after.manifest)
    tested = facts.tested(after, reporter)
    points = {
        Step.MAJOR: (facts.breaking(), facts.architecture(), tested, facts.way_back()),
        Step.MINOR: (facts.features(), tested, facts.documentation(), facts.monitoring()),
        Step.PATCH: (facts.fixes(), tested, facts.quick_way_back()),
    }[comparison.step.required]
    names = GUIDE[comparison.step.required]
    return tuple(
        MigrationPoint(point=name, found=found, todo=todo, command=command)
        for name, (found, todo, command) in zip(names, points, strict=True)
    )


_Point = tuple[str, str | None, str | None]
"""What was found, what is left to do, and the command for it."""


class _Facts:
    """What is known of each point."""

    def __init__(self, host: Host, comparison: VersionComparison, before: Manifest, after: Manifest) -> None:
        self._host = host
        self._comparison = comparison
        self._before, self._after = before, after
        self._a, self._b = (shlex.quote(side.source) for side in (comparison.before, comparison.after))

    def breaking(self) -> _Point:
        found = self._reasons(Step.MAJOR, "breaking change")
        return found, "tell every caller what to change", self._release_notes()

    def features(self) -> _Point:
        return self._reasons(Step.MINOR, "gain"), "tell callers what they may use now", self._release_notes()

    def fixes(self) -> _Point:
        lines = [
            line for line in self._after.history if line.digest_before is not None and self._is_since(line.version)
        ]
        told = "; ".join(f"{line.version}: {line.short_message or 'no message'}" for line in lines)
        changed = sum(layer.changed for layer in self._comparison.layers)
        others = len(self._comparison.configs) + len(self._comparison.metadata)
        found = f"{_count(changed, 'layer')} and {_count(others, 'other part')} changed"
        return f"{found}; history since: {told or 'none'}", "read what was changed", self._release_notes()

    def architecture(self) -> _Point:
        changed = any(change.path == ARCHITECTURE for change in self._comparison.configs)
        old, new = set(self._before.engine.operators), set(self._after.engine.operators)
        operators = ", ".join(
            [*(f"+{name}" for name in sorted(new - old)), *(f"-{name}" for name in sorted(old - new))]
        )
        found = f"{ARCHITECTURE} {'differs' if changed else 'is the same'}; operators: {operators or 'the same'}"
        command = f"hyperion verify compatibility {self._b} --platform TARGET"
        return (
            found,
            "check every kind of machine that will serve it" if changed else None,
            command if changed else None,
        )

    def tested(self, package: PackageReader, reporter: Reporter) -> _Point:
        """Run B's golden requests; where a dataset was given, its answers stand in the comparison."""
        from hyperion.verification.model import GOLDEN, OUTPUTS, check_model

        findings = check_model(self._host, Path(self._comparison.after.source), package, reporter)
        found = "; ".join(_told(finding) for finding in findings)
        left = ["mend what failed"] if any(finding.outcome is Outcome.FAILED for finding in findings) else []
        for finding in findings:
            if finding.check == GOLDEN and finding.outcome is Outcome.SKIPPED:
                left.append(f"record golden requests: {finding.hint} and package it again")
            elif finding.check == OUTPUTS and finding.outcome is Outcome.WARNED:
                left.append("find out why outputs are NaN or infinite")
        if self._comparison.answers is not None:
            return found, "; ".join(left) or None, None
        todo = "; ".join([*left, "run it on data of your own"])
        return found, todo, f"hyperion version compare {self._a} {self._b} --dataset DIR"

    def documentation(self) -> _Point:
        changed = [change.path for change in self._comparison.configs if change.path.lower().endswith(_DOCUMENTS)]
        changed += [change.path for change in self._comparison.metadata if change.path == "description"]
        found = f"changed: {', '.join(changed)}" if changed else "no document of the package and no description changed"
        todo = (
            "check that they name what is new" if changed else "describe what is new in the model directory's README.md"
        )
        return (
            found,
            todo,
            None if changed else "hyperion package model --input DIR --output F.hyperion --parent " + self._a,
        )

    def monitoring(self) -> _Point:
        name = self._deployment()
        command = (
            f"hyperion deploy model --input {self._b} && hyperion monitor performance --model {self._b} --interval 60"
        )
        return self._serving(name), "deploy it and watch it", command

    def way_back(self) -> _Point:
        found, backup = self._standing(), self._backup()
        if backup is not None:
            return found, "go back with it if callers fail", _rollback(backup)
        return found, "back it up where it serves, before you deploy", self._make_backup()

    def quick_way_back(self) -> _Point:
        found, backup = self._standing(), self._backup()
        deploy = f"hyperion deploy model --input {self._b}"
        if backup is not None:
            return found, f"deploy it; back again with: {_rollback(backup)}", deploy
        return found, "back it up where it serves, then deploy", f"{self._make_backup()} && {deploy}"

    def _standing(self) -> str:
        """What serves A, and where it is backed up."""
        backup = self._backup()
        known = f"it is backed up in {backup}" if backup else "no backup of it is known here"
        return f"{self._serving(self._deployment())}; {known}"

    def _make_backup(self) -> str:
        return f"hyperion backup model --name {self._deployment() or 'current_model'} --output backup/"

    def _reasons(self, step: Step, what: str) -> str:
        reasons = [str(reason) for reason in self._comparison.step.reasons if reason.step is step]
        return f"{_count(len(reasons), what)}: {'; '.join(reasons)}"

    def _release_notes(self) -> str:
        return f"hyperion version compare {self._a} {self._b} --markdown"

    def _is_since(self, version: str) -> bool:
        return Version.parse(self._before.version).precedes(Version.parse(version))

    def _deployment(self) -> str | None:
        """The first deployment that serves A."""
        for deployment in self._host.ledger.deployments():
            number = deployment.active_revision
            if number is not None:
                revision = self._host.ledger.revision(deployment.name, number)
                if revision.digest == self._comparison.before.digest:
                    return deployment.name
        return None

    def _serving(self, deployment: str | None) -> str:
        version = self._before.version
        return f"{version} is active in {deployment}" if deployment else f"{version} is active in no deployment here"

    def _backup(self) -> str | None:
        """Where a backup of A lies that is there still, the latest one; A itself where it is one."""
        for event in reversed(self._host.ledger.events(kinds=(EventKind.BACKUP_CREATED,))):
            path = event.data.get("path")
            if event.data.get("digest") == self._comparison.before.digest and self._is_there(Path(str(path))):
                return str(path)
        return None

    def _is_there(self, path: Path) -> bool:
        try:
            with self._host.packages.open(path) as package:
                return package.digest == self._comparison.before.digest
        except HyperionError:
            return False


def _rollback(backup: str) -> str:
    return f'hyperion rollback model --backup {shlex.quote(backup)} --reason "…"'


def _told(finding: Finding) -> str:
    reason = f" ({finding.reason})" if finding.reason and finding.outcome is not Outcome.PASSED else ""
    return f"{finding.summary}{reason}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
