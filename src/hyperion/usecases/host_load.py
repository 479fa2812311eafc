"""What the deployments of this host claim of it now."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.command import DeploymentStatus, Status, StatusReply
from hyperion.domain.host_load import Claim
from hyperion.ports import Host
from hyperion.usecases.ask import ask_supervisor
from hyperion.verification.room import read_claims


def claims_now(host: Host) -> tuple[Claim, ...]:
    """One for each revision that is loaded, or is to be: active, coming, kept warm.

    Where no supervisor runs, nothing is warm, and what the ledger desires counts: the next supervisor will start it.
    """
    reply = ask_supervisor(host, Status(), StatusReply)
    return claims_of(host, () if reply is None else reply.deployments)


def claims_of(host: Host, statuses: Iterable[DeploymentStatus]) -> tuple[Claim, ...]:
    """The same, where the supervisor was asked already."""
    warm = (status.warm.revision for status in statuses if status.warm is not None)
    return read_claims(host.ledger, warm)
