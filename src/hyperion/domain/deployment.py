"""Deployments and their revisions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.document import DeploymentName, Digest, Document
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConflictError, NotFoundError

CURRENT_MODEL = "current_model"
"""Stands for the only deployment when there is exactly one and none bears this name."""


class Origin(StrEnum):
    """What made a revision."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class Revision(Document):
    """Immutable and numbered: a package digest and the config it is served with."""

    deployment: DeploymentName
    number: int
    digest: Digest
    model: str
    version: str
    config: DeploymentConfig
    """Complete: every default filled in, ``name`` set."""
    origin: Origin
    reason: str | None
    """Why, in the operator's words; always there for a rollback."""
    override: str | None = None
    """Why it was deployed though its version step, the time, or the lack of a way back spoke against it; else None."""
    replaces: int | None
    """The revision that was active when this one was made."""
    actor: str
    """The operating-system user who asked for it."""
    created_at: datetime

    def created_event(self) -> EventDraft:
        """The event that records it; its data is the whole revision, so that the chain of events covers it."""
        return EventDraft(
            kind=EventKind.REVISION_CREATED,
            deployment=self.deployment,
            revision=self.number,
            actor=self.actor,
            data=self.model_dump(mode="json"),
        )


class Deployment(Document):
    """A named, long-lived serving slot on this host."""

    name: DeploymentName
    desired_revision: int | None
    """What should serve; None when it was stopped."""
    active_revision: int | None
    """What receives traffic by default; None before the first promotion and after a stop."""
    last_active_revision: int | None
    """The latest revision that was ever promoted; kept over a stop, so that it can be backed up."""
    created_at: datetime


def find_deployment(deployments: Iterable[Deployment], name: str) -> Deployment:
    """The deployment called ``name``; ``current_model`` also stands for the only one there is.

    Raises:
        NotFoundError: There is none of that name (code ``deployment.not_found``).
    """
    known = {deployment.name: deployment for deployment in deployments}
    if name in known:
        return known[name]
    if name == CURRENT_MODEL and len(known) == 1:
        return next(iter(known.values()))
    names = ", ".join(sorted(known)) or "none"
    if name == CURRENT_MODEL and known:
        raise NotFoundError(
            f"{CURRENT_MODEL} stands for the only deployment, and this host has several: {names}",
            hint="name one of them (--name)",
            code="deployment.not_found",
        )
    raise NotFoundError(
        f"there is no deployment {name!r} on this host; deployments: {names}",
        hint="deploy one with 'hyperion deploy model', or name one of those above",
        code="deployment.not_found",
    )


def match_digest(active: Iterable[Revision], digest: str, name: str | None = None) -> Revision:
    """The active revision that serves the package ``digest``.

    Args:
        active: The active revision of every deployment that has one.
        digest: Digest of the package that the operator named.
        name: The deployment, where the operator named one; ``current_model`` stands for the only one there is.

    Raises:
        NotFoundError: No deployment of that name is active (code ``deployment.not_found``), or it, or every one,
            serves another package (code ``deployment.package_not_active``).
        ConflictError: Several deployments serve the package and ``name`` is None (code ``deployment.ambiguous``).
    """
    known = {revision.deployment: revision for revision in active}
    if name == CURRENT_MODEL and name not in known and len(known) == 1:
        name = next(iter(known))
    serving = ", ".join(f"{r.deployment} (r{r.number}: {r.digest})" for r in known.values()) or "none"
    if name is not None and name not in known:
        raise NotFoundError(
            f"no deployment {name!r} is active on this host; active: {serving}",
            hint="'hyperion status' shows what is deployed",
            code="deployment.not_found",
        )
    candidates = [known[name]] if name is not None else list(known.values())
    matches = [revision for revision in candidates if revision.digest == digest]
    if not matches:
        raise NotFoundError(
            f"the package {digest} is not active in {name or 'any deployment'}; active: {serving}",
            hint="deploy it with 'hyperion deploy model', or name the package that is active",
            code="deployment.package_not_active",
            expected=digest,
            actual=[revision.digest for revision in candidates],
        )
    if len(matches) > 1:
        names = ", ".join(revision.deployment for revision in matches)
        raise ConflictError(
            f"several deployments serve the package {digest}: {names}",
            hint="choose one of them with --name",
            code="deployment.ambiguous",
        )
    return matches[0]
