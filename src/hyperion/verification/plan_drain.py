"""The checklist's question on requests in flight: may each of them end before its worker must?"""

from __future__ import annotations

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.finding import Finding, Outcome

DRAIN = "plan.drain"


def check_drain(config: DeploymentConfig) -> Finding:
    """Whether a replaced worker has longer than the longest request that the limits allow; it only warns."""
    limits, drain_s = config.limits, config.drain_timeout_s
    longest_s = limits.header_timeout_s + limits.request_timeout_s
    finding = Finding(
        check=DRAIN,
        outcome=Outcome.PASSED,
        summary=f"a replaced worker has {drain_s:g} s to finish, a request may take {longest_s:g} s",
        measured=drain_s,
        limit=longest_s,
    )
    if drain_s >= longest_s:
        return finding
    return finding.model_copy(
        update={
            "outcome": Outcome.WARNED,
            "reason": "what takes longer is cut by a rollout, with 503 and Retry-After",
            "entry": "drain_timeout_s",
            "hint": f"raise drain_timeout_s to {longest_s:g}, or lower limits.request_timeout_s to what is needed",
        }
    )
