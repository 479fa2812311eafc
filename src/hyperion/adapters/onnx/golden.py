"""Golden requests beside quantized models: how far answers may lie from the recorded ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from hyperion.domain.manifest import GoldenRequest, SchemeName
from hyperion.domain.scheme import GOLDEN_RELATIVE
from hyperion.ports import GoldenSource


def silent(golden: Sequence[GoldenSource]) -> list[str]:
    """What to warn of where requests name no outputs."""
    return [
        f"golden request {request.name!r} names no outputs: it is run, but nothing says which answers are right"
        for request in golden
        if not request.outputs
    ]


def judged_by(golden: GoldenSource, schemes: Collection[SchemeName]) -> GoldenSource:
    """A golden request with the rule of its schemes, where nobody wrote one.

    Nothing of the rule is measured, so that it is the same on every machine. Beside floating-point outputs those of
    other types are not compared: they are decisions, and a quantized model may decide a near tie the other way.
    """
    if golden.explicit or not schemes:
        return golden
    exact = {name for name, expected in golden.outputs.items() if expected.dtype.kind != "f"}
    ignored = exact if len(exact) < len(golden.outputs) else set()
    rule = GoldenRequest(
        comparison="norm",
        relative=max(GOLDEN_RELATIVE[scheme] for scheme in schemes),
        ignore=tuple(sorted({*golden.request.ignore, *ignored})),
    )
    return replace(golden, request=rule)


def uncompared(golden: Sequence[GoldenSource], judged: Sequence[GoldenSource]) -> list[str]:
    """What to warn of where ``judged_by`` leaves outputs out."""
    return [
        f"golden request {before.name!r}: {', '.join(map(repr, more))} is not compared: a quantized model may decide "
        "a near tie the other way"
        for before, after in zip(golden, judged, strict=True)
        if (more := [name for name in after.request.ignore if name not in before.request.ignore])
    ]
