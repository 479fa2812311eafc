"""A command whose process the engine may take down with it: another process is there to say so.

A model can make the engine crash (a division that the processor refuses, a fault of the engine's own), and whoever
crashes says nothing. So the command runs in a child that was forked before anything was loaded, with the same terminal,
input and output; its parent waits, passes signals on, and tells how it ended where it could not do so itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

_WAITED = frozenset({signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_ASKED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT})
"""Ends that somebody wanted."""
_FROM_THE_TERMINAL = 0x80
"""SI_KERNEL: every process of the group got it, the child too."""


def run_witnessed(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """``run(arguments)`` in a child; returns its exit code, or that of an engine's failure where it crashed.

    To be called while this process has one thread. In the child it returns as ``run`` does.
    """
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it is not told of a child's end
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _begin(parent)
        return run(arguments)
    status = _wait(child)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    return _tell(signal.Signals(os.WTERMSIG(status)), arguments)


def _begin(parent: int) -> None:
    from hyperion.adapters.sandbox.parent_death import die_with_parent

    die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED)


def _wait(child: int) -> int:
    """Wait for the child's end, and pass on what only this process was told."""
    while True:
        found = signal.sigwaitinfo(_WAITED)
        if found.si_signo != signal.SIGCHLD:
            if found.si_code != _FROM_THE_TERMINAL:
                os.kill(child, found.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            return status


def _tell(by: signal.Signals, arguments: Sequence[str]) -> int:
    if by in _ASKED:
        return 128 + by
    from hyperion.cli.failure import report
    from hyperion.errors import EngineError

    hint = "with these inputs the model makes the engine crash; 'hyperion verify model' looks at it in a child"
    if by == signal.SIGKILL:
        hint = "perhaps the kernel ran out of memory: see dmesg, and the model's memory with 'hyperion verify memory'"
    error = EngineError(
        f"the process that ran the model was killed by {by.name}", hint=hint, code="engine.crashed", actual=by.name
    )
    return report(error, arguments)
