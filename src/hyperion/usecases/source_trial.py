"""The first load and run of a model that somebody else wrote: in a child, since it may crash, hang or grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperion.domain.tensor import Signature
from hyperion.ports import GoldenSource, Host, InferenceJob, Reporter, SandboxLimits, Tensors
from hyperion.verification.request import NoRequestError, generated_request

GIB = 1024**3
TIMEOUT_S = 120.0
_STORAGE_RATE = 50_000_000  # bytes per second that even a slow disk gives


def try_out_source(
    host: Host, model: Path, signature: Signature, golden: Sequence[GoldenSource], reporter: Reporter
) -> None:
    """Load a model and run its first golden request, or a generated one, in a confined child.

    What is done with it in this process comes after. A request that the engine refuses is no fault yet.

    Raises:
        EngineError: It does not load (code ``engine.load_failed``), crashes the engine (``engine.crashed``), or takes
            too long (``engine.timeout``).
        HostError: No child can be started.
    """
    requests: tuple[Tensors, ...] = tuple(request.inputs for request in golden[:1])
    if not requests:
        try:
            requests = (generated_request(signature),)
        except NoRequestError:
            requests = ()
    size = sum(path.stat().st_size for path in model.parent.iterdir() if path.is_file())
    limits = SandboxLimits(timeout_s=TIMEOUT_S + size / _STORAGE_RATE, address_space_bytes=8 * GIB + 6 * size)
    with reporter.stage("Trying the model out in a child"):
        host.sandbox.run(InferenceJob(model, requests, source=True, keep_outputs=False), limits)
