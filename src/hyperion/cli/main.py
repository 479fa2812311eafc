"""The entry of the command line, and the one place where errors become messages and exit codes.

Only what every Python process has loaded already is imported at the top, so that Ctrl-C while the rest is loaded
ends as quietly as later.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any


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
    except Exception as error:  # noqa: BLE001  (the process edge)
        from hyperion.cli import failure

        return _interrupted() if failure.is_interrupt(error) else failure.report(error, arguments)
    return answer if isinstance(answer, int) else 0


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


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # text that the terminal's encoding lacks is shown, not a crash
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _end)  # so that half-written files are removed on the way out
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the answer is given: Ctrl-C has nothing left to stop
    sys.exit(code)
