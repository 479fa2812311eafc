"""The entry of the command line, and the one place where errors become messages and exit codes.

Only what every Python process has loaded already is imported at the top, so that Ctrl-C while the rest is loaded
ends as quietly as later.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

_received: list[int] = []
"""Signals that ask for the end: C extensions that one interrupts may turn its exception into one of their own."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Only SystemExit gets out: of ``serve``, and of SIGTERM."""
    try:
        from hyperion.cli.root import root

        answer: Any = root.main(list(arguments), prog_name="hyperion", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _abandoned()
    except SystemExit as end:
        if end.code == 1:  # click's own word for a closed pipe, which it keeps to itself; 1 is the answer no here
            return _abandoned()
        raise
    except Exception as error:
        from hyperion.cli import failure

        if signal.SIGTERM in _received:
            raise SystemExit(128 + signal.SIGTERM) from error
        if signal.SIGINT in _received or failure.is_interrupt(error):
            return _interrupted()
        code = failure.report(error, arguments)
        _drop_unwritable()
        return code
    return answer if isinstance(answer, int) else 0


def answered() -> None:
    """Told when a whole answer is out: Ctrl-C has nothing left to stop, and 130 would say that it had.

    What comes after it (sessions that are dropped, files that are closed) is not worth an end of its own.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupted() -> int:
    from hyperion.cli.exit_codes import INTERRUPTED

    sys.stderr.write("interrupted\n")
    return INTERRUPTED


def _abandoned() -> int:
    """The reader of our stdout went away, as ``head`` does."""
    from hyperion.cli.endless import discard_stdout
    from hyperion.cli.exit_codes import BROKEN_PIPE

    discard_stdout()
    return BROKEN_PIPE


def _drop_unwritable() -> None:
    """What stdout did not take (a full disk behind it) is told by now; the interpreter would try it once more."""
    try:
        sys.stdout.flush()
    except OSError:
        from hyperion.cli.endless import discard_stdout

        discard_stdout()


def _end(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    raise SystemExit(128 + number) if number == signal.SIGTERM else KeyboardInterrupt


def _open_standard_streams() -> None:
    """Put /dev/null where whoever started us closed a standard stream (``>&-``).

    The next file that is opened would get the number otherwise, and whatever is printed would be written into it, by
    our children too: the ledger is such a file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest free number: this one
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def main() -> None:
    """Entry point of the console script."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # text that the terminal's encoding lacks is shown, not a crash
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _end)  # so that half-written files are removed on the way out
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, _end)
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:  # a model runs in this very process, on what anybody sends: it may take it down
        from hyperion.cli.witness import run_witnessed

        code = run_witnessed(run, arguments)
    else:
        code = run(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the answer is given: Ctrl-C has nothing left to stop
    sys.exit(code)
