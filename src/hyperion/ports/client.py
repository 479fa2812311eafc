"""A served deployment, as its clients see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.ports.tensors import Array, Tensors


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered inference request."""

    outputs: dict[str, Array]
    model: str
    version: str
    revision: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class NotReady:
    """Why a readiness probe was not answered with yes: the deployment's doing, or that of who asked it."""

    reason: str
    hint: str | None = None
    """What ends it, where that is on the side of who asked: a key, a certificate to trust."""


class InferenceClient(Protocol):
    """A client of a served deployment (Open Inference Protocol v2)."""

    def not_ready(self, url: str, model: str, timeout_s: float) -> NotReady | None:
        """What stands between a client and the model; None where it is ready."""

    def infer(self, url: str, model: str, feeds: Tensors, timeout_s: float) -> Answer:
        """Send one request.

        Raises:
            EngineError: With the cause as its code: ``inference.failed``, ``inference.timeout``,
                ``inference.refused``.
        """
