"""Run ``hyperion`` commands in this fresh process, and leave in a file what each answered, took and needed.

python -m tests.hostile.child FILE BEGUN_AT COMMANDS, with COMMANDS as JSON: a list of lists of words. The first command
is timed from BEGUN_AT on, a reading of the monotonic clock from before this process was started.
"""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def peak_bytes() -> int:
    """The most memory that this process ever had, as the kernel kept count of it since its start."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    from hyperion.cli.main import run

    file, begun_at, commands = sys.argv[1:]
    done = []
    begin, used = float(begun_at), 0.0
    for words in json.loads(commands):
        answer, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(answer), redirect_stderr(errors):
            code = run(words)
        figures = {"duration_s": time.monotonic() - begin, "cpu_s": time.process_time() - used}
        said = {"code": code, "answer": answer.getvalue(), "errors": errors.getvalue()}
        done.append({**said, **figures, "peak_bytes": peak_bytes()})
        begin, used = time.monotonic(), time.process_time()
    Path(file).write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main()
