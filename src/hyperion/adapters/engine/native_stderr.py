"""What a native library writes to stderr by itself, kept back until it is known whether an error of ours tells it.

Rust prints a panic, with a trace where $RUST_BACKTRACE asks for one, before pyo3 makes it an exception that Python can
catch. Its hook cannot be reached from here, so file descriptor 2 leads into memory meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

_STDERR = 2
_PANIC = re.compile(rb"\n?thread '[^\n]*' (?:\(\d+\) )?panicked at ")
_TURN = threading.Lock()


@contextlib.contextmanager
def panics_kept_back(*, any_thread: bool = True) -> Iterator[None]:
    """Keep the traces of panics from stderr; all else that was written meanwhile follows at the end.

    The descriptor belongs to the whole process: one call at a time, and what other threads write is late by as long
    as the call takes.

    Args:
        any_thread: Whether to do so in other threads than the main one too. A worker loads a tokenizer once, but
            encodes all the time, beside its main thread: there the last words of a crash are worth more.
    """
    if not any_thread and threading.current_thread() is not threading.main_thread():
        yield
        return
    with _TURN:
        opened = _kept_and_memory()
        if opened is None:
            yield
            return
        kept, memory = opened
        os.dup2(memory, _STDERR)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(kept, _STDERR)
            _follow_up(kept, os.pread(memory, os.fstat(memory).st_size, 0), failed=failed)
            os.close(memory)
            os.close(kept)


def _kept_and_memory() -> tuple[int, int] | None:
    """Another descriptor of stderr and one of a file in memory; None where stderr is closed or there is no more."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
    try:
        kept = os.dup(_STDERR)
    except OSError:
        return None
    try:
        return kept, os.memfd_create("stderr")
    except OSError:
        os.close(kept)
        return None


def _follow_up(stderr: int, written: bytes, *, failed: bool) -> None:
    panic = _PANIC.search(written) if failed else None
    with contextlib.suppress(OSError):
        os.write(stderr, written if panic is None else written[: panic.start()])
