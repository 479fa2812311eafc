"""20 blue-green swaps under load with clients that never retry: how many requests fail (none may)."""

from __future__ import annotations

import sys
import time

from benchmarks.inputs import write_mlp
from benchmarks.measure import Figure, Result, median, report, service, spread
from benchmarks.traffic import Traffic, faults, random_requests

NAME = "bench"


def measure(swaps: int = 20) -> Result:
    """Deploy two packages in turn while 4 keep-alive and 4 one-shot clients send without pause."""
    with service() as host:
        packages = [
            host.package(write_mlp(host.folder / f"v{n}", f"1.{n}.0", seed=n), "--quantize", "none") for n in (0, 1)
        ]
        host.deploy(packages[0], NAME)
        durations, ends = [], []
        with Traffic(host.port, NAME, random_requests(), keep_alive=4, one_shot=4) as traffic:
            for number in range(1, swaps + 1):
                started = time.perf_counter()
                host.deploy(packages[number % 2], NAME)
                durations.append(time.perf_counter() - started)
                ends.append(traffic.now_s())
        answers = traffic.answers
    failed = faults(answers)
    for fault, count in failed.most_common(5):
        print(f"  {count} x {fault}")
    revisions = {answer.revision for answer in answers if answer.fault is None}
    late = _answers_of_the_old(answers, ends)
    figures = (
        Figure(f"failed requests in {swaps} swaps", "requests", failed.total(), (failed.total(),) * 2, limit=0,
               note=f"{len(answers)} requests sent; {len(revisions)} revisions answered."),
        Figure("answers by an old revision after its deploy command returned", "requests", late, (late, late), limit=0),
        Figure("deploy command under this load", "s", median(durations), spread(durations),
               note="Checks, new worker, proof, shift, drain; the clients share the two cores."),
    )  # fmt: skip
    return Result("swaps", "Swaps under load, clients without retry", "python -m benchmarks.swaps", figures)


def _answers_of_the_old(answers, ends: list[float]) -> int:
    """Revision N+1 is the N-th swap's; after that swap's command returned, only it may answer."""
    late = 0
    for number, end in enumerate(ends, 1):
        until = ends[number] if number < len(ends) else float("inf")
        slowest = max((answer.latency_ms for answer in answers), default=0) / 1000
        window = [a for a in answers if end + slowest < a.at_s < until and a.revision is not None]
        late += sum(answer.revision <= number for answer in window)
    return late


if __name__ == "__main__":
    sys.exit(report(measure()))
