"""The demo: a real model goes the whole way of the deployment guide, in about a minute (``make demo``).

Every line that begins with ``$`` is a command as a user would type it, and what follows is its real output. The demo
works in .demo/ (packages, backup, state folder) and on a free port; it ends with exit code 1 when a command or a
single request failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from traffic import Answer, Request, Traffic, classification, faults

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(".demo")
HYPERION = str(Path(sys.executable).parent / "hyperion")
NAME = "digits"
V1, V2, BACKUP, CONFIG = (
    WORK / "digits-1.0.0.hyperion",
    WORK / "digits-1.1.0.hyperion",
    WORK / "backup",
    WORK / "deployment.json",
)
MNIST = Path("examples/mnist")
REASON = "Performance issues"


class CommandFailedError(Exception):
    """A command of the demo ended with another exit code than 0."""


def say(text: str) -> None:
    print(text, flush=True)


def heading(text: str) -> None:
    say(f"\n── {text} " + "─" * max(0, 100 - len(text)))


def hyperion(*arguments: object, check: bool = True) -> None:
    """Run the installed command as a user would, its output going where ours goes."""
    words = [str(argument) for argument in arguments]
    say(f"\n$ hyperion {shlex.join(words)}")
    code = subprocess.run([HYPERION, *words], cwd=ROOT, env=environment(), check=False).returncode
    if check and code != 0:
        raise CommandFailedError(f"'hyperion {shlex.join(words)}' ended with exit code {code}")


def environment() -> dict[str, str]:
    """The user's environment, with the demo's own state folder."""
    return {**os.environ, "HYPERION_HOME": str(ROOT / WORK / "state")}


@contextlib.contextmanager
def clean_stage() -> Iterator[None]:
    """Nothing is left of a former run before, and nothing runs on after."""
    stop = [HYPERION, "stop", "--all"]

    def quiet() -> None:
        if (ROOT / WORK / "state").exists():
            subprocess.run(stop, cwd=ROOT, env=environment(), check=False, capture_output=True)

    quiet()
    shutil.rmtree(ROOT / WORK, ignore_errors=True)
    (ROOT / WORK).mkdir()
    try:
        yield
    finally:
        quiet()


def write_config(port: int) -> None:
    """deployment.json, as an operator would fill it in."""
    config = {
        "name": NAME, "serve": {"port": port}, "memory": {"budget_mb": 1024}, "environment": "demo",
        "owner": "you", "team": "digits", "window": {"zone": "UTC"}, "notes": "make demo", "runbook": "README.md",
    }  # fmt: skip
    (ROOT / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def draw(image: np.ndarray) -> str:
    """One digit [28, 28] for the terminal, two rows of pixels in each line."""
    rows = image[2:26].reshape(12, 2, 28).max(axis=1)
    lines = ("".join(" .:*#"[min(4, int(value * 5))] for value in row) for row in rows)
    return "\n".join(f"    {line}".rstrip() for line in lines if line.strip())


def ask_one(port: int, image: np.ndarray, request: Request) -> None:
    """One digit, drawn, and what the service says of it."""
    url = f"http://127.0.0.1:{port}/v2/models/{NAME}/infer"
    body = WORK / "request.json"
    (ROOT / body).write_bytes(request.body)
    say(f"\n{draw(image)}\n")
    if shutil.which("curl"):
        words = ["curl", "--silent", "--header", "Content-Type: application/json", "--data", f"@{body}", url]
        say(f"$ {shlex.join(words)}")
        raw = subprocess.run(words, cwd=ROOT, capture_output=True, check=False).stdout
    else:
        say(f"POST {url} with {body}")
        post = urllib.request.Request(url, request.body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(post, timeout=10) as response:  # noqa: S310  (our own loopback address)
            raw = response.read()
    say(raw.decode())
    if fault := request.fault_of(json.loads(raw)):
        raise CommandFailedError(f"the service {fault}")


def traffic_report(answers: list[Answer], marks: list[tuple[float, str]]) -> None:
    """Who answered when, and what failed."""
    failed = faults(answers)
    end = answers[-1].at_s
    say(f"\nrequests sent    {len(answers)}\nfailed           {failed.total()}")
    for fault, count in failed.most_common(5):
        say(f"  {count} x {fault}")
    say("\nanswered by             first at  last at   answers  median ms")
    good = [answer for answer in answers if answer.fault is None]
    for revision in sorted({answer.revision for answer in good}):
        own = [answer for answer in good if answer.revision == revision]
        median = sorted(answer.latency_ms for answer in own)[len(own) // 2]
        label = f"revision {revision} ({own[0].version})"
        say(f"  {label:<20}  {own[0].at_s:7.2f} s {own[-1].at_s:7.2f} s {len(own):8}  {median:9.1f}")
    say(f"\n{strip(good, end)}")
    for at_s, text in marks:
        say(f"  {at_s:6.2f} s  {text}")


def strip(answers: list[Answer], end_s: float, width: int = 90) -> str:
    """A time line: which revision answered in each slice of time; ``+`` where two did, ``.`` where none did."""
    slices: list[set[int]] = [set() for _ in range(width)]
    for answer in answers:
        if answer.revision is not None:
            slices[min(width - 1, int(answer.at_s / end_s * width))].add(answer.revision)
    marks = ["." if not found else str(min(found)) if len(found) == 1 else "+" for found in slices]
    return f"  0 s |{''.join(marks)}| {end_s:.1f} s   (revision that answered; + two at once, . none)"


def deploy_and_roll_back_under_load(port: int, requests: list[Request]) -> list[Answer]:
    """A client sends without pause while version 1.1.0 comes and goes."""
    marks: list[tuple[float, str]] = []
    with Traffic(port, NAME, requests) as traffic:

        def step(text: str, *arguments: object) -> None:
            marks.append((traffic.now_s(), f"{text}: the command starts"))
            hyperion(*arguments)
            marks.append((traffic.now_s(), f"{text}: the command returns"))

        time.sleep(1.0)
        step("deploy 1.1.0", "deploy", "model", "--input", V2, "--config", CONFIG)
        hyperion("verify", "deployment", "--model", V2)
        time.sleep(1.0)
        step("roll back", "rollback", "model", "--backup", BACKUP / NAME, "--reason", REASON)
        hyperion("verify", "deployment", "--model", BACKUP / NAME)
        time.sleep(1.0)
    heading("What the clients saw (2 keep-alive, 2 with a connection for each request; none retries)")
    traffic_report(traffic.answers, marks)
    return traffic.answers


def digits() -> tuple[np.ndarray, list[Request]]:
    """The ten golden digits, and a request for each."""
    with np.load(ROOT / MNIST / "v1" / "golden" / "digits.npz") as golden:
        images = golden["input:image"]
    requests = [
        classification("image", [round(float(value), 4) for value in image.ravel()], [1, 1, 28, 28], label)
        for label, image in enumerate(images)
    ]
    return images[:, 0], requests


def run() -> list[Answer]:
    port = free_port()
    write_config(port)
    images, requests = digits()

    heading("1. Package two versions of a digit classifier, with quantized weights")
    hyperion("package", "model", "--input", MNIST / "v1", "--output", V1)
    hyperion("package", "model", "--input", MNIST / "v2", "--output", V2, "--parent", V1)
    hyperion("version", "compare", V1, V2)

    heading("2. Verify the package: structure, golden digits, accuracy on 1,000 digits it never saw")
    hyperion("verify", "model", "--input", V1)
    hyperion("verify", "performance", V1, "--dataset", MNIST / "test_data")

    heading("3. Deploy 1.0.0 and ask it")
    hyperion("deploy", "model", "--input", V1, "--config", CONFIG)
    ask_one(port, images[7], requests[7])

    heading("4. Back it up, look at it")
    hyperion("backup", "model", "--name", NAME, "--output", BACKUP)
    hyperion("monitor", "model", "--model", V1, "--metrics", WORK / "metrics.json", "--count", 1)

    heading("5. Deploy 1.1.0 and roll back, while clients send requests without pause")
    answers = deploy_and_roll_back_under_load(port, requests)

    heading("6. Document the rollback, look back, stop")
    hyperion("log", "rollback", "--backup", BACKUP / NAME, "--reason", REASON)
    hyperion("history", NAME)
    hyperion("status")
    hyperion("stop", NAME)
    return answers


def main() -> int:
    os.chdir(ROOT)
    started = time.monotonic()
    with clean_stage():
        try:
            answers = run()
        except CommandFailedError as error:
            say(f"\nThe demo failed: {error}")
            return 1
    failed = faults(answers).total()
    say(f"\nDone in {time.monotonic() - started:.0f} s: {len(answers)} requests sent, {failed} failed.")
    versions = {answer.version for answer in answers if answer.fault is None}
    return 0 if failed == 0 and versions == {"1.0.0", "1.1.0"} else 1


if __name__ == "__main__":
    sys.exit(main())
