"""The demo's non-retrying clients, with requests for the benchmark MLP."""

from __future__ import annotations

import json
import math

import numpy as np
from examples.traffic import Answer, Request, Traffic, faults

from benchmarks.inputs import MLP_WIDTHS

__all__ = ["Answer", "Request", "Traffic", "faults", "random_requests", "request_body"]


def request_body(seed: int) -> bytes:
    """One row of random floats as a v2 request, about 400 bytes."""
    row = np.random.default_rng(seed).normal(size=MLP_WIDTHS[0])
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, MLP_WIDTHS[0]], "data": [round(float(v), 5) for v in row]}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def random_requests(count: int = 16) -> list[Request]:
    """Requests whose answer must be eight finite numbers."""

    def fault_of(answer: dict) -> str | None:
        scores = answer["outputs"][0]["data"]
        whole = len(scores) == MLP_WIDTHS[-1] and all(math.isfinite(score) for score in scores)
        return None if whole else f"answered {scores}"

    return [Request(request_body(seed), fault_of) for seed in range(count)]
