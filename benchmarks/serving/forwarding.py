"""What a canary costs: CPU per request that a worker forwards to the candidate, against one that it answers itself."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.inputs import write_mlp
from benchmarks.measure import HYPERION, Figure, Result, Service, median, report, service, spread
from benchmarks.serving.cost import cost_ms
from benchmarks.serving.load import BODIES, post
from benchmarks.traffic import request_body

NAME, SHARE, BAKE_S = "bench", 0.99, 600.0
LIMIT_MS, START_S = 0.25, 30.0


def measure(rounds: int = 5) -> Result:
    """Each round measures without a canary, then begins one that takes 99 % of the requests, and aborts it."""
    requests = [post(NAME, request_body(seed)) for seed in range(BODIES)]
    plain, forwarded = [], []
    with service() as host:
        packages = [
            host.package(write_mlp(host.folder / f"v{n}", f"1.{n}.0", seed=n), "--quantize", "none") for n in (0, 1)
        ]
        for _ in range(rounds):
            host.deploy(packages[0], NAME)
            pid = int(host.run("status")["supervisor"]["pid"])
            plain.append(cost_ms(host.port, pid, requests))
            with _canary(host, packages[1]):
                forwarded.append(cost_ms(host.port, pid, requests))
            host.run("stop", NAME)
    added = [after - before for before, after in zip(plain, forwarded, strict=True)]
    figures = (
        Figure("CPU that forwarding to a candidate adds to a request", "ms", median(added), spread(added),
               limit=LIMIT_MS, key="F1",
               note=f"{SHARE:.0%} of the requests are forwarded; the candidate's process counts too, and so does one "
               "second's worth of judging a second."),
        Figure("CPU per request, forwarded", "ms", median(forwarded), spread(forwarded),
               "answered by the worker itself", median(plain)),
    )  # fmt: skip
    what = f"A canary's cost, median of {rounds} rounds"
    return Result("forwarding", what, "python -m benchmarks.serving.forwarding", figures)


@contextlib.contextmanager
def _canary(host: Service, package) -> Iterator[None]:
    config = host.folder / "canary.json"
    canary = {"steps": [{"share": SHARE, "bake_s": BAKE_S}]}
    config.write_text(json.dumps({"name": NAME, "serve": {"port": host.port}, "strategy": "canary", "canary": canary}))
    command = [HYPERION, "deploy", "model", "--input", str(package), "--config", str(config), "--json"]
    process = subprocess.Popen(command, env=host.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not any(worker["state"] == "canary" for worker in _workers(host)):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the canary did not begin")
            time.sleep(0.1)
        time.sleep(0.5)  # until every worker has its route
        yield
    finally:
        process.terminate()
        process.wait()


def _workers(host: Service) -> list[dict]:
    return list(host.run("status")["deployments"][0]["workers"])


if __name__ == "__main__":
    sys.exit(report(measure()))
