"""How a failed command says so: to people on stderr, to programs on stdout, and by its exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence

import click

from hyperion.cli.exit_codes import BUG, HOST, USAGE, exit_code
from hyperion.cli.text import clean
from hyperion.errors import HostError, HyperionError

DEBUG_VARIABLE = "HYPERION_DEBUG"


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--json`` was given; asked of the bare words, since usage errors come before parsing ends."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def is_interrupt(error: Exception) -> bool:
    """Whether it is click's word for Ctrl-C."""
    return isinstance(error, click.Abort)


def report(error: Exception, arguments: Sequence[str]) -> int:
    """Say what went wrong with a command line; returns the exit code."""
    as_json = wants_json(arguments)
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error, file=sys.stderr)
    details, code = _explain(error, verb)
    try:
        if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
            click.echo(error.format_message(), err=True)  # asked for nothing: the help says what there is
        elif as_json:
            click.echo(json.dumps({"error": {**details, "exit_code": code}}, indent=2, default=str))
        else:
            click.echo("\n".join(_lines(details)), err=True)
    except OSError:
        pass  # nobody reads; the exit code still tells
    return code


def _explain(error: Exception, verb: str | None) -> tuple[dict[str, object], int]:
    """The error as plain data, and its exit code."""
    if isinstance(error, HyperionError):
        return error.details(), exit_code(error, verb)
    if isinstance(error, click.ClickException):
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "hyperion"
        return {"code": "usage", "message": error.format_message(), "hint": f"see '{command} --help'"}, USAGE
    if isinstance(error, MemoryError):
        return HostError("this machine has not enough free memory for that", code="host.memory").details(), HOST
    if isinstance(error, OSError):  # such as a full disk behind stdout; files of ours are named by their adapters
        return HostError(f"the operating system refused: {error}", code="host.os_error").details(), HOST
    hint = f"this is a bug: please report it with what the same command prints under {DEBUG_VARIABLE}=1"
    return {"code": "bug", "message": f"unexpected {type(error).__name__}: {error}", "hint": hint}, BUG


def _told(value: object) -> object:
    """A list as words."""
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else value


def _lines(details: dict[str, object]) -> Iterator[str]:
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    # No error of ours has several lines, so that a newline in one is a name's; click and bugs have theirs.
    ours = details["code"] not in ("usage", "bug")
    yield f"{red}error:{plain} {clean(details['message'], keep_newlines=not ours)}"
    problems = details.get("problems")
    for problem in problems if isinstance(problems, list) else ():
        if problem["message"] not in str(details["message"]):  # a message names only the first of many
            yield f"  - {clean(problem['path'] or '(document)')}: {clean(problem['message'])}"
    for key, word in (("entry", "entry"), ("expected", "expected"), ("actual", "found")):
        if key in details and (key == "entry" or str(_told(details[key])) not in str(details["message"])):
            yield f"  {word + ':':<10}{clean(_told(details[key]))}"
    if "hint" in details:
        yield f"hint: {clean(details['hint'], keep_newlines=not ours)}"
    yield f"code: {clean(details['code'])}"
