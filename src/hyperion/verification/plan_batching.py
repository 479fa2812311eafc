"""The checklist's question on batches: is a row answered together with others as it is alone?"""

from __future__ import annotations

from hyperion.domain.config import Batching
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.tensor import Signature
from hyperion.domain.tuning import TOLERANCE, Curve, batch_fault

BATCHING = "plan.batching"


def check_batching(batching: Batching, curve: Curve | None, signature: Signature) -> Finding:
    """Whether batched answers are the single ones, as far as the curve tells.

    Where they are not, requests run alone; only who asked for batches (mode ``on``) is denied.

    Args:
        batching: Of deployment.json.
        curve: What the child measured; None where it measured none.
        signature: Of the model.
    """
    fault = batch_fault(signature)
    if fault is not None:
        return _alone(batching, f"each request runs alone: {fault}")
    if curve is None or curve.difference is None:
        reason = "it was not measured" if curve is None or curve.unavailable is None else curve.unavailable
        summary = "answers in a batch were not compared with answers alone"
        return Finding(check=BATCHING, outcome=Outcome.SKIPPED, summary=summary, reason=reason)
    told = f"differ from answers alone by {curve.difference:.2g}"
    if curve.difference > TOLERANCE:
        alone = _alone(batching, f"each request runs alone: answers in a batch {told}, more than {TOLERANCE:g}")
        return alone.model_copy(update={"measured": curve.difference, "limit": TOLERANCE})
    return Finding(
        check=BATCHING,
        outcome=Outcome.PASSED,
        summary=f"answers in a batch are those alone: they {told} at most",
        measured=curve.difference,
        limit=TOLERANCE,
    )


def _alone(batching: Batching, summary: str) -> Finding:
    if batching.mode != "on":
        return Finding(check=BATCHING, outcome=Outcome.PASSED, summary=summary)
    return Finding(
        check=BATCHING,
        outcome=Outcome.FAILED,
        summary=summary,
        reason="batching.mode is 'on', which cannot be honoured",
        entry="batching.mode",
        hint="write 'auto' or 'off', or package the model with a scheme whose activations stay float",
    )
