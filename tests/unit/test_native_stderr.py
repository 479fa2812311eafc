"""What native code writes to stderr: traces of panics are kept back, all else is not."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hyperion.adapters.engine.native_stderr import panics_kept_back

PANIC = b"\nthread '<unnamed>' (77) panicked at template.rs:563:61:\nno entry found\nstack backtrace:\n   0: x\n"
OPEN = Path("/proc/self/fd")


def written(capfd: pytest.CaptureFixture[str], text: bytes, *, fails: bool, any_thread: bool = True) -> str:
    with contextlib.suppress(KeyError), panics_kept_back(any_thread=any_thread):
        os.write(2, text)
        if fails:
            raise KeyError
    return capfd.readouterr().err


def test_the_trace_of_a_panic_is_kept_back_and_what_came_before_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert written(capfd, b"before\n" + PANIC, fails=True) == "before\n"


@pytest.mark.parametrize("fails", [True, False])
def test_other_words_are_not_lost(capfd: pytest.CaptureFixture[str], fails: bool) -> None:
    assert written(capfd, b"out of memory\n", fails=fails) == "out of memory\n"


@pytest.mark.parametrize(("any_thread", "panics"), [(True, 0), (False, 1)])
def test_in_a_thread_beside_the_main_one_stderr_may_be_left_alone(
    capfd: pytest.CaptureFixture[str], any_thread: bool, panics: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(written, capfd, PANIC, fails=True, any_thread=any_thread).result()

    assert said.count("panicked") == panics


def test_stderr_stays_usable_afterwards_and_no_descriptor_is_left_open(capfd: pytest.CaptureFixture[str]) -> None:
    before = len(list(OPEN.iterdir()))

    written(capfd, PANIC, fails=True)
    os.write(2, b"after")

    assert capfd.readouterr().err == "after"
    assert len(list(OPEN.iterdir())) == before


def test_a_closed_stderr_is_no_trouble(capfd: pytest.CaptureFixture[str]) -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        with panics_kept_back():
            ran = True
    finally:
        os.dup2(kept, 2)
        os.close(kept)

    assert ran
