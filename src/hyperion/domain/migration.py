"""The guide's "Version Migration", point by point, for one step between two packages."""

from __future__ import annotations

from hyperion.domain.document import Document
from hyperion.domain.version import Step

GUIDE: dict[Step, tuple[str, ...]] = {
    Step.MAJOR: (
        "Review breaking changes in release notes",
        "Update model architecture if needed",
        "Test with new version before deployment",
        "Plan rollback strategy",
    ),
    Step.MINOR: (
        "Review new features",
        "Test new functionality",
        "Update documentation",
        "Deploy with monitoring",
    ),
    Step.PATCH: (
        "Review bug fixes",
        "Test affected functionality",
        "Deploy with quick rollback option",
    ),
}
"""The points of the deployment guide, in its words and order."""


class MigrationPoint(Document):
    """One point of the guide: what Hyperion did for it, and what is left for a person."""

    point: str
    """In the guide's words."""
    found: str
    """A fact that was found or measured now."""
    todo: str | None
    """What a person must do; None where nothing is left."""
    command: str | None
    """The command that does it; paths are quoted for a POSIX shell."""
