"""A machine that is what the test says: its facts, its engine, and what models do in its sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hyperion.domain.platform import PlatformProfile
from hyperion.errors import EngineError
from hyperion.format.package import PackageReader
from hyperion.ports import (
    InferenceJob,
    InferenceResult,
    MemoryFigures,
    ProcessUsage,
    SandboxLimits,
    Session,
    SessionOptions,
)
from tests.packages import ENGINE

MIB = 1024**2
DEFAULT_OPTIONS = SessionOptions()
DEFAULT_LIMITS = SandboxLimits()


class FakeFacts:
    """Implements ports.HostFacts for one large machine.

    Attributes:
        taken_ports: Ports that another process listens on.
        name: The operating-system user.
    """

    def __init__(self) -> None:
        self.taken_ports: set[int] = set()
        self.name = "alice"

    def platform(self) -> PlatformProfile:
        return PlatformProfile(
            os="linux",
            architecture="amd64",
            cpu_features=("avx2", "avx512_vnni"),
            cores=8,
            memory_bytes=16 * 1024 * MIB,
            disk_free_bytes=100 * 1024 * MIB,
        )

    def platform_name(self) -> str:
        return self.platform().name

    def memory_bytes(self) -> int | None:
        return self.platform().memory_bytes

    def memory_available_bytes(self) -> int:
        return 8 * 1024 * MIB

    def memory_in_use_bytes(self) -> int | None:
        return 2 * 1024 * MIB

    def process(self, pid: int, *, proportional: bool = True) -> ProcessUsage | None:
        return None

    def page_cache_resident_ratio(self, paths: Sequence[Path]) -> float | None:
        return None

    def hardware_counters(self, pids: Sequence[int], duration_s: float) -> tuple[dict[str, int | None], str | None]:
        return {}, "a fake machine has none"

    def disk_usage(self, path: Path) -> int:
        return 0

    def user(self) -> str:
        return self.name

    def port_is_free(self, host: str, port: int) -> bool:
        return port not in self.taken_ports

    def socket_fault(self, path: Path) -> str | None:
        return None


class FakeEngine:
    """Implements ports.Engine as far as profiles ask for it; it loads nothing."""

    def version(self) -> str:
        return "1.99.0"

    def load(self, package: PackageReader, options: SessionOptions = DEFAULT_OPTIONS) -> Session:
        raise EngineError("a fake engine loads nothing", code="engine.load_failed")

    def operators(self) -> frozenset[str]:
        return frozenset(ENGINE.operators)

    def opsets(self) -> dict[str, int]:
        return {"ai.onnx": 21}


class FakeSandbox:
    """Implements ports.Sandbox: every model answers zeros of shape [1, 2] as ``y``, where ``answer`` says nothing else.

    Attributes:
        error: Raised instead, where it is set: the model does not load, crashes or hangs.
        answer: What stands in ``y``.
        peak_mb: What the child takes at its peak.
        jobs: What it was asked to do.
    """

    def __init__(self) -> None:
        self.error: EngineError | None = None
        self.answer = 0.0
        self.peak_mb = 64
        self.jobs: list[InferenceJob] = []

    def run(self, job: InferenceJob, limits: SandboxLimits = DEFAULT_LIMITS) -> InferenceResult:
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        count = len(tuple(job.requests))
        peak = self.peak_mb * MIB
        return InferenceResult(
            outputs=tuple({"y": np.full((1, 2), self.answer, np.float32)} for _ in range(count)),
            errors=(None,) * count,
            latencies_ms=(1.0,) * (count * job.repeats),
            load_ms=5.0,
            cpu_s=0.01,
            wall_s=0.01,
            memory=MemoryFigures(before_load=peak // 2, after_load=peak, steady=peak, peak=peak, after_unload=None),
        )
