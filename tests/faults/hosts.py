"""Hosts that go bad: full and read-only disks, rotten blobs, jumping clocks, no descriptors, racing deploys."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.host.system_clock import SystemClock
from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.domain.command import Deploy, Deployed
from hyperion.domain.deployment import Origin
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import HyperionError
from tests.faults.stage import NAME, QUIET, Outcome, Packages, crowd, serving, shop
from tests.serving_kit import (
    Foreground,
    address_of,
    call,
    eventually,
    infer_body,
    ledger_events,
    read_answer,
    supervisor,
)
from tests.small_disk import small_disk

QUEUED = 100
DESCRIPTORS = 96
"""That a supervisor and its workers may have open each, where they are to run out."""


def queued_connections(folder: Path, packages: Packages) -> Outcome:
    """100 connections wait in the queue while the workers that listen are swapped: none is reset."""
    outcome = Outcome(f"{QUEUED} queued connections while a listener closes")
    with serving(folder, packages["v1"], **QUIET) as (running, url):
        (pid,) = running.worker_pids()
        body = infer_body()
        request = f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        raw = f"{request}Content-Length: {len(body)}\r\n\r\n".encode() + body
        with ThreadPoolExecutor(1) as pool:
            rollout = pool.submit(running.deploy, packages["v2"], NAME, **QUIET)
            eventually(lambda: any(worker.revision == 2 for worker in shop(running).workers))
            os.kill(pid, signal.SIGSTOP)  # what comes now waits in the kernel
            try:
                waiting = [socket.create_connection(address_of(url), 30) for _ in range(QUEUED)]
                for connection in waiting:
                    connection.sendall(raw)
            finally:
                os.kill(pid, signal.SIGCONT)
            rollout.result(60)
        revisions, lost = [], []
        for connection in waiting:
            try:
                with connection, connection.makefile("rb") as stream:
                    status, headers, answer = read_answer(stream)
                    revisions.append(headers["hyperion-revision"])
                    if status != 200:
                        lost.append(f"status {status}: {answer[:80]!r}")
            except (OSError, ValueError) as error:
                lost.append(f"{type(error).__name__}: {error}")
    outcome.demand(not lost, f"{len(lost)} lost, such as {lost[:1]}")
    outcome.facts |= {"answered by 1": revisions.count("1"), "by 2": revisions.count("2")}
    return outcome


def disk_full(folder: Path, packages: Packages) -> Outcome:
    """The state's disk is full: the rollout is refused, the stable revision serves on, and room makes it well."""
    outcome = Outcome("disk full")
    with small_disk(folder / "disk", "24m") as disk, serving(disk / "state", packages["v1"], **QUIET) as (running, url):
        with crowd(running, url) as clients:
            filler = disk / "filler"
            filler.write_bytes(b"")
            _fill(filler)
            refusal = _refused(lambda: running.deploy(packages["v2"], NAME, **QUIET))
            outcome.demand(refusal, "a deploy went through on a full disk")
            outcome.facts["refusal"] = str(refusal)[:120]
            full = time.monotonic()
            eventually(lambda: clients.answered(full) > 20, what="answers on a full disk")
            filler.unlink()
            deployed = running.deploy(packages["v2"], NAME, **QUIET)
            outcome.demand(deployed.promoted, f"no rollout after there was room again: {deployed.reason}")
        outcome.demand_none(clients)
    return outcome


def _fill(path: Path) -> None:
    with path.open("ab", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue


def read_only(folder: Path, packages: Packages) -> Outcome:
    """The state's disk came up read-only: the supervisor says so and ends; once it is writable, all is as before."""
    outcome = Outcome("read-only state")
    with small_disk(folder / "disk", "64m") as disk:
        state = disk / "state"
        with serving(state, packages["v1"], **QUIET):
            pass
        _remount(disk, "ro")
        try:
            command = [sys.executable, "-P", "-m", "hyperion", "serve", "--foreground"]
            environment = os.environ | {"HYPERION_HOME": str(state)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        finally:
            _remount(disk, "rw")
        said = done.stdout + done.stderr
        outcome.facts["said"] = " ".join(said.split())[:160]
        outcome.demand(done.returncode == 9, f"exit code {done.returncode}, expected 9")
        outcome.demand("Traceback" not in said, "it failed with a traceback")
        with supervisor(state) as running:
            eventually(lambda: shop(running).serving, what="the service")
            with crowd(running, str(shop(running).url)) as clients:
                deployed = running.deploy(packages["v2"], NAME, **QUIET)
                outcome.demand(deployed.promoted, f"no rollout after it was writable again: {deployed.reason}")
            outcome.demand_none(clients)
    return outcome


def _remount(disk: Path, how: str) -> None:
    done = subprocess.run(["mount", "-o", f"remount,{how}", disk], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)


def rotten_blob(folder: Path, packages: Packages) -> Outcome:
    """What the disk holds of an earlier revision rots: it is not promoted again, and the active one serves on."""
    outcome = Outcome("a corrupt blob")
    with serving(folder, packages["v1"], **QUIET) as (running, url):
        running.deploy(packages["v2"], NAME, keep_warm_s=0, **QUIET)
        eventually(lambda: {worker.revision for worker in shop(running).workers} == {2}, what="the end of revision 1")
        with crowd(running, url) as clients:
            in_use = _digests(packages["v2"])
            rotten = [path for path in (folder / "blobs" / "sha256").rglob("*") if path.is_file()]
            rotten = [path for path in rotten if path.name not in in_use and path.parent.name + path.name not in in_use]
            for path in rotten:
                _rot(path)
            outcome.facts["blobs"] = len(rotten)
            refusal = _refused(lambda: running.client.ask(_back_to(running, 1)))
            outcome.demand(refusal, "a rotten package was promoted")
            outcome.facts["refusal"] = str(refusal)[:160]
            then = time.monotonic()
            eventually(lambda: clients.answered(then) > 20, what="answers")
        outcome.demand_none(clients)
        outcome.demand({s.revision for s in clients.sent} == {2}, "another revision answered")
    return outcome


def _digests(package: Path) -> set[str]:
    """The hex digests of a package and its entries."""
    with LocalPackages().open(package) as opened:
        found = [opened.digest, *(entry.digest for entry in opened.manifest.entries.values())]
    return {digest.removeprefix("sha256:") for digest in found}


def _back_to(running: Foreground, revision: int) -> Deploy:
    """A rollback to what is in the store, whatever state that is in."""
    created = [event for event in ledger_events(running.state) if event.kind is EventKind.REVISION_CREATED]
    target = next(event for event in created if event.revision == revision)
    return Deploy(
        package_path=None, expected_digest=str(target.data["digest"]), config=shop(running).active.config,
        origin=Origin.ROLLBACK, reason="a fault", actor="tests",
    )  # fmt: skip


def _rot(path: Path) -> None:
    """One other byte, as a disk would give it back."""
    data = path.read_bytes()
    if data:
        path.chmod(0o600)
        with path.open("r+b") as stream:
            stream.seek(len(data) // 2)
            stream.write(bytes([data[len(data) // 2] ^ 1]))


def two_deploys(folder: Path, packages: Packages) -> Outcome:
    """Two at once: one goes through, the other is told; the ledger tells of both in order."""
    outcome = Outcome("two deploys racing")
    with serving(folder, packages["v1"], **QUIET) as (running, url), crowd(running, url) as clients:

        def deploy(name: str) -> Deployed | HyperionError:
            try:
                return running.deploy(packages[name], NAME, **QUIET)
            except HyperionError as error:
                return error

        packages["slow1"], packages["v2"]  # made before, so that both come at once
        with ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(deploy, ("v2", "slow1")))
        won = [end for end in ends if isinstance(end, Deployed) and end.promoted]
        outcome.demand(won, f"neither went through: {ends}")
        outcome.facts["promoted"] = len(won)
        outcome.facts["told"] = next((str(end)[:100] for end in ends if isinstance(end, HyperionError)), "-")
        then = time.monotonic()
        eventually(lambda: clients.answered(then) > 20, what="answers")
        active = shop(running).deployment.active_revision
        seen = {s.revision for s in clients.sent if s.sent_at > then + 2.5}
        outcome.demand(seen <= {active}, f"{seen} answer, active is {active}")
    outcome.demand_none(clients)
    numbers = [event.revision for event in ledger_events(folder) if event.kind.value == "revision.created"]
    outcome.demand(numbers == sorted(set(numbers)), f"revisions in the ledger: {numbers}")
    return outcome


def no_descriptors(folder: Path, packages: Packages) -> Outcome:
    """More clients come than a worker may have files open: those beyond wait or are cut, and it recovers."""
    outcome = Outcome("descriptors exhausted")
    with ExitStack() as until_the_end:
        with few_descriptors(DESCRIPTORS):
            running, url = until_the_end.enter_context(serving(folder, packages["v1"], **QUIET))
        (pid,) = running.worker_pids()
        idle = []
        for _ in range(2 * DESCRIPTORS):
            try:
                idle.append(socket.create_connection(address_of(url), 2))
            except OSError:
                break
        threading.Event().wait(1)
        outcome.facts["connections"] = len(idle)
        for connection in idle:
            connection.close()
        eventually(lambda: _answers(url), what="an answer afterwards")
        outcome.demand(running.worker_pids() == [pid], "the worker was lost")
        outcome.demand(running.deploy(packages["v2"], NAME, **QUIET).promoted, "no rollout afterwards")
    return outcome


@contextmanager
def few_descriptors(most: int) -> Iterator[None]:
    """For the processes that are started within; this one has its own back before it needs them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def clock_jump(folder: Path, packages: Packages) -> Outcome:
    """The wall clock goes back a day: what the ledger already tells lies in the future."""
    outcome = Outcome("the clock goes back a day")
    with serving(folder, packages["v1"], **QUIET):
        pass
    ledger = SqliteLedger(folder / "ledger.db", Tomorrow())
    ledger.append(EventDraft(kind=EventKind.ROLLBACK_NOTED, deployment=NAME, actor="tests", data={"reason": "a fault"}))
    ledger.close()
    with supervisor(folder) as running:
        eventually(lambda: shop(running).serving, what="the service")
        with crowd(running, str(shop(running).url)) as clients:
            for name in ("v2", "v1"):
                deployed = running.deploy(packages[name], NAME, **QUIET)
                outcome.demand(deployed.promoted, f"no rollout: {deployed.reason}")
        outcome.demand_none(clients)
        outcome.demand(shop(running).deployment.active_revision == 3, "another revision is active")
    numbers = [event.sequence for event in ledger_events(folder)]
    outcome.demand(numbers == sorted(numbers), "the ledger lost its order")
    return outcome


class Tomorrow(SystemClock):
    """As the wall clock was before it was set right."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=1)


def _answers(url: str) -> bool:
    try:
        return bool(call(f"{url}/v2/models/{NAME}/infer", infer_body())[0] == 200)
    except OSError:
        return False


def _refused(deploy: Callable[[], Any]) -> str | None:
    """Why it did not go through; None where it did."""
    try:
        deployed = deploy()
    except HyperionError as error:
        return f"{error.code}: {error.message}"
    return None if deployed.promoted else str(deployed.reason)
