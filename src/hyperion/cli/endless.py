"""How a command without an end ends: by Ctrl-C, or because its reader went away; neither is a failure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def until_stopped(*, endless: bool) -> Iterator[None]:
    """Let Ctrl-C and a closed pipe end the block quietly, where it is endless."""
    try:
        yield
    except BrokenPipeError:
        discard_stdout()
    except KeyboardInterrupt:
        if not endless:
            raise


def discard_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
