"""A process that does what it is told and says how long that took: ``python -m benchmarks.format.child MODULE``.

What is measured excludes the interpreter's start and the module's imports, alike for Hyperion and its peers. Orders
come as JSON lines on the standard input, ``{"call": NAME, "arguments": {...}}``; answers leave on the standard output.
It runs in the peers' environment too, so it needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from importlib import import_module
from typing import TextIO


def main() -> None:
    answers = _take_over_output()
    module = import_module(sys.argv[1])
    _say(answers, {"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        function = getattr(module, order["call"])
        started = time.perf_counter()
        try:
            value = function(**order["arguments"])
            answer = {"seconds": time.perf_counter() - started, "value": value}
        except Exception as error:  # noqa: BLE001 - the parent decides what a failure means
            answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        _say(answers, answer)


def _take_over_output() -> TextIO:
    """The standard output as a private stream; whatever a library prints goes to the standard error instead."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
