"""The deployment guide's "Pre-deployment Checklist", and which checks fill in each of its items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

# Only the type is spoken of: the command line shows its help without the models of documents.
if TYPE_CHECKING:
    from hyperion.domain.finding import Finding


class Item(NamedTuple):
    """One line of the guide's checklist."""

    title: str
    """As the guide has it."""
    checks: tuple[str, ...]
    """Names of checks, or their beginnings up to a dot."""


class Section(NamedTuple):
    title: str
    items: tuple[Item, ...]


GUIDE = (
    Section(
        "Model Verification",
        (
            Item("Verify model package integrity", ("integrity.", "model.configs", "plan.signing")),
            Item("Check model version compatibility", ("plan.version_step",)),
            Item("Validate model performance", ("model.", "plan.batching", "plan.performance")),
            Item("Test memory usage", ("plan.memory",)),
        ),
    ),
    Section(
        "Environment Preparation",
        (
            Item("Check system requirements", ("plan.system_requirements", "plan.cores", "plan.environment")),
            Item("Verify dependencies", ("plan.dependencies",)),
            Item("Configure memory settings", ("plan.memory_settings", "plan.host_memory")),
            Item("Set up monitoring", ("plan.monitoring",)),
        ),
    ),
    Section(
        "Deployment Plan",
        (
            Item("Schedule deployment window", ("plan.window",)),
            Item("Prepare rollback plan", ("plan.rollback",)),
            Item("Document deployment steps", ("plan.drain", "plan.steps", "plan.runbook")),
            Item("Assign deployment team", ("plan.team",)),
        ),
    ),
)


class FilledItem(NamedTuple):
    section: str
    title: str
    findings: tuple[Finding, ...]
    """Empty where nothing was looked at."""


def fill_in(findings: Iterable[Finding]) -> tuple[FilledItem, ...]:
    """The guide's items in its order, each with the findings that fill it in; what fits none stands at the end."""
    left = list(findings)
    filled = []
    for section in GUIDE:
        for item in section.items:
            own = tuple(finding for finding in left if _is_of(finding, item))
            left = [finding for finding in left if finding not in own]
            filled.append(FilledItem(section.title, item.title, own))
    return (*filled, FilledItem("Beyond the guide", "Further checks", tuple(left))) if left else tuple(filled)


def _is_of(finding: Finding, item: Item) -> bool:
    return any(finding.check == name or (name.endswith(".") and finding.check.startswith(name)) for name in item.checks)
