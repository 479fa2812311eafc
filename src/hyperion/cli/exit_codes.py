"""The exit codes of every command, and which error means which."""

from __future__ import annotations

from hyperion import errors

YES = 0
NO = 1
USAGE = 2
BAD_PACKAGE = 3
INCOMPATIBLE = 4
NOT_FOUND = 5
CONFLICT = 6
ABORTED = 7
REGISTRY = 8
HOST = 9
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
"""As the shell reports a process ended by SIGPIPE; the reader went away, so nothing is said."""

MEANINGS: dict[int, str] = {
    YES: "yes: done, or everything that was checked holds",
    NO: "the answer is no: a check failed, or a gate denied",
    USAGE: "wrong usage, or a document or option with a wrong value",
    BAD_PACKAGE: "the package or model directory is broken",
    INCOMPATIBLE: "this host or target cannot run the package",
    NOT_FOUND: "what was named does not exist",
    CONFLICT: "something else holds it, or it exists already",
    ABORTED: "the rollout was aborted; the old revision still serves",
    REGISTRY: "the registry refused or failed",
    HOST: "the inference engine or this machine failed",
    BUG: "a bug in Hyperion",
    INTERRUPTED: "interrupted by Ctrl-C",
}

ERROR_CODES: dict[type[errors.HyperionError], int] = {
    errors.PackageError: BAD_PACKAGE,
    errors.IncompatibleError: INCOMPATIBLE,
    errors.ConfigError: USAGE,
    errors.NotFoundError: NOT_FOUND,
    errors.ConflictError: CONFLICT,
    errors.RolloutAbortedError: ABORTED,
    errors.RegistryError: REGISTRY,
    errors.BudgetError: NO,
    errors.EngineError: HOST,
    errors.HostError: HOST,
}
"""One row per branch of the tree in hyperion.errors; a leaf takes its nearest ancestor's."""


def exit_code(error: errors.HyperionError, verb: str | None = None) -> int:
    """The exit code for ``error``.

    Args:
        error: What ended the command.
        verb: First word of the command. For ``verify`` a broken package is the answer no, not a failure to answer.
    """
    for kind in type(error).__mro__:
        code = ERROR_CODES.get(kind)
        if code is not None:
            return NO if verb == "verify" and code == BAD_PACKAGE else code
    return BUG
