"""A command that the engine takes down with it is told by the process that waits for it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

SCRIPT = """
import os, signal, sys
from hyperion.cli.witness import run_witnessed

def run(arguments):
    {body}

sys.exit(run_witnessed(run, {arguments!r}))
"""


def begin(body: str, *arguments: str) -> subprocess.Popen[str]:
    script = SCRIPT.format(body=body, arguments=list(arguments))
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def crash(by: signal.Signals) -> str:
    return f"signal.signal({by.value}, signal.SIG_DFL); os.kill(os.getpid(), {by.value})"


def test_the_exit_code_of_the_command_is_that_of_the_process() -> None:
    assert ended(begin("print('answer', flush=True); return 5")) == (5, "answer\n", "")


def test_a_crash_is_said_by_the_name_of_its_signal() -> None:
    code, _, err = ended(begin(crash(signal.SIGFPE)))

    assert code == 9
    assert err.splitlines()[0] == "error: the process that ran the model was killed by SIGFPE"
    assert err.splitlines()[-1] == "code: engine.crashed"


def test_under_json_a_crash_is_an_object_on_stdout() -> None:
    code, out, _ = ended(begin(crash(signal.SIGSEGV), "run", "--json"))

    assert code == 9
    assert json.loads(out)["error"]["actual"] == "SIGSEGV"


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_waiting_process_reaches_the_command(asked: signal.Signals) -> None:
    process = begin(
        f"signal.signal({asked.value}, lambda *_: os._exit(77)); print('ready', flush=True); signal.pause()"
    )
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(asked)

    assert ended(process)[0] == 77


def test_a_command_whose_waiting_process_is_killed_ends_too() -> None:
    process = begin("print(os.getpid(), flush=True); signal.pause()")
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))

    process.kill()

    ended(process)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:  # no init may collect it here
        assert time.monotonic() < deadline
