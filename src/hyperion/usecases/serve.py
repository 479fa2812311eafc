"""Bring every desired deployment back: after a restart of the machine, or of the supervisor."""

from __future__ import annotations

from hyperion.ports import Host, Reporter
from hyperion.usecases.status import HostStatus, read_status

PATIENCE_S = 20.0
"""How long deployments may take to come up before the answer is that they did not."""
POLL_S = 0.1


def bring_back(host: Host, reporter: Reporter) -> HostStatus:
    """Start the supervisor where none runs, and wait for what it has to serve.

    Returns:
        The status once all desired deployments serve, or after PATIENCE_S; ``trouble`` says what keeps one.

    Raises:
        HostError: The supervisor does not come up.
    """
    host.control.ensure_running()
    deadline = host.clock.monotonic() + PATIENCE_S
    with reporter.stage("Wait for the deployments"):
        while True:
            status = read_status(host)
            if all_served(status) or host.clock.monotonic() >= deadline:
                return status
            host.clock.sleep(POLL_S)


def all_served(status: HostStatus) -> bool:
    """Whether everything that is desired takes traffic."""
    return all(item.serving for item in status.deployments if item.deployment.desired_revision is not None)
