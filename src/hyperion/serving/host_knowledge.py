"""What this host made and measured of a package, for its workers' orders; what cannot be read counts as nothing."""

from __future__ import annotations

import logging

from hyperion.domain.event import EventKind
from hyperion.domain.image import images_by_key
from hyperion.domain.tuning import Tuning
from hyperion.errors import HyperionError
from hyperion.ports import HostFacts, Ledger, ReportStore

_log = logging.getLogger(__name__)


def images_of(ledger: Ledger, digest: str) -> dict[str, str]:
    """Digests of the host images of a package by key; the ledger's chain covers them, and a later one counts."""
    try:
        return images_by_key(ledger.events(kinds=[EventKind.IMAGE_BUILT]), digest)
    except HyperionError as error:
        _log.warning("the ledger does not say which host images there are: %s", error.message)
        return {}


def tuning_of(reports: ReportStore, facts: HostFacts, digest: str) -> Tuning | None:
    """What this host measured of a package."""
    try:
        return reports.tuning(digest, facts.platform_name())
    except HyperionError as error:
        _log.warning("what was measured of %s cannot be read: %s", digest, error.message)
        return None
