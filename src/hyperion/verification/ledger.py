"""Is the ledger what it was? The chain of hashes shows an edit; a head kept elsewhere shows a chain written anew."""

from __future__ import annotations

from hyperion.domain.event import START, LedgerHead
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.pointers import MOVING, astray
from hyperion.errors import HyperionError
from hyperion.ports import Ledger

CHAIN, HEAD, POINTERS = "ledger.chain", "ledger.head", "ledger.pointers"
_HINT = "compare with an export or a backup from before; whoever can write the state folder can change the ledger"


def check_chain(ledger: Ledger) -> Finding:
    """Does every event carry the hash of the one before, and its own?"""
    broken = ledger.first_broken()
    if broken is None:
        head = ledger.head()
        summary = f"{head.sequence} events, each with the hash of the one before; the last is {head.hash}"
        return Finding(check=CHAIN, outcome=Outcome.PASSED, summary=summary, measured=head.sequence)
    return Finding(
        check=CHAIN,
        outcome=Outcome.FAILED,
        summary=f"the chain is broken at event {broken}",
        reason="it was changed, removed or put in after it was written",
        measured=broken,
        hint=_HINT,
    )


def check_pointers(ledger: Ledger) -> tuple[Finding, ...]:
    """Are the revisions that are desired and active those that the events made so? One finding for each that is not."""
    while True:
        head, deployments = ledger.head(), ledger.deployments()
        try:
            faults = astray(deployments, ledger.events(kinds=MOVING))
        except HyperionError:  # a row that is no event: the chain is broken there, and says so
            return ()
        if ledger.head() == head:  # else a rollout went on between the two
            break
    return tuple(
        Finding(
            check=POINTERS,
            outcome=Outcome.FAILED,
            summary=f"the revisions of {name} are not those that the events made desired and active",
            reason=fault,
            entry=name,
            hint=f"deploy or roll back {name} to the revision that should serve, and find out who wrote the ledger",
        )
        for name, fault in faults.items()
    )


def check_head(ledger: Ledger, head: LedgerHead, source: str) -> Finding:
    """Does an end of the ledger that was kept elsewhere still stand in the chain?

    Args:
        ledger: This host's.
        head: What was kept.
        source: Where; the path as the user named it.
    """
    fault = _head_fault(ledger, head)
    if fault is None:
        summary = f"event {head.sequence}, the end of the ledger in {source}, stands in the chain as it was"
        return Finding(check=HEAD, outcome=Outcome.PASSED, summary=summary, measured=head.sequence, entry=source)
    return Finding(
        check=HEAD,
        outcome=Outcome.FAILED,
        summary=f"event {head.sequence}, the end of the ledger in {source}, does not stand in the chain",
        reason=fault,
        measured=head.sequence,
        entry=source,
        hint=_HINT,
    )


def _head_fault(ledger: Ledger, head: LedgerHead) -> str | None:
    if head == START:
        return None
    broken, end = ledger.first_broken(), ledger.head()
    if broken is not None and broken <= head.sequence:
        return f"the chain is broken before it, at event {broken}"
    if end.sequence < head.sequence:
        return f"the ledger ends at event {end.sequence}: what came after was lost, or it is another host's"
    try:
        event = ledger.events(since=head.sequence - 1)[0]
    except HyperionError as error:
        return error.message
    if event.hash != head.hash:
        return f"the chain was written anew, or is another host's: expected {head.hash}, found {event.hash}"
    return None


def export_fault(source: str, fault: str) -> Finding:
    """The finding on an export that is itself not what was exported."""
    summary = f"the export {source} is not what was written"
    return Finding(
        check=HEAD, outcome=Outcome.FAILED, summary=summary, reason=fault, entry=source,
        hint="use another copy of it",
    )  # fmt: skip
