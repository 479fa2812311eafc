"""Every error that Hyperion raises on purpose, grouped by who must act.

    HyperionError
    ├── PackageError            the file is wrong: make or fetch it again
    │   ├── MalformedPackageError        its bytes or documents break the format
    │   ├── DigestMismatchError          an entry is not what the manifest says
    │   ├── UnknownFormatVersionError    written by a later Hyperion
    │   └── ModelSourceError             the input of `package` is no model directory, or a broken one
    ├── IncompatibleError       the file is fine, this host or target is not
    ├── ConfigError             a document or option that a person wrote is wrong
    ├── NotFoundError           what was named does not exist
    ├── ConflictError           something else holds it, or it changed meanwhile
    ├── RolloutAbortedError     the candidate failed its proof; the old revision still serves
    ├── RegistryError           the remote registry
    ├── BudgetError             quantizing would cost more than the stated budget; nothing was written
    ├── EngineError             the inference engine refused or failed
    └── HostError               this machine: disk, permissions, processes, sockets

A "no" is not an error: a failed check or a denied gate is a value (domain.finding, domain.gate).
Exit codes and HTTP statuses are mapped at the edges (cli.exit_codes, serving.protocol).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a document.

    Attributes:
        path: JSON path of the faulty key, such as ``serve.port``; empty for the whole document.
        message: What was expected and what was found.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class HyperionError(Exception):
    """Root of all errors.

    Attributes:
        code: Stable, dotted name for machines; documented in docs/reference/errors.md.
        message: What happened, naming the file, entry or field, what was expected and what was found.
        hint: What to do about it, or None.
    """

    code = "hyperion.error"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        entry: str | None = None,
        expected: object = None,
        actual: object = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.entry = entry
        self.expected = expected
        self.actual = actual
        if code is not None:
            self.code = code

    def details(self) -> dict[str, object]:
        """The error as plain data, for ``--json`` and the ledger; absent attributes are left out."""
        found = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "entry": self.entry,
            "expected": self.expected,
            "actual": self.actual,
        }
        return {key: value for key, value in found.items() if value is not None}


class PackageError(HyperionError):
    code = "package.invalid"


class MalformedPackageError(PackageError):
    code = "package.malformed"


class DigestMismatchError(PackageError):
    code = "package.digest_mismatch"


class UnknownFormatVersionError(PackageError):
    code = "package.unknown_format_version"


class ModelSourceError(PackageError):
    code = "package.model_source"


class IncompatibleError(HyperionError):
    code = "host.incompatible"


class ConfigError(HyperionError):
    """A document or option is wrong; ``problems`` holds all its faults, not only the first."""

    code = "config.invalid"

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.problems = tuple(problems)

    def details(self) -> dict[str, object]:
        details = super().details()
        if self.problems:
            details["problems"] = [{"path": p.path, "message": p.message} for p in self.problems]
        return details


class NotFoundError(HyperionError):
    code = "not_found"


class ConflictError(HyperionError):
    code = "conflict"


class RolloutAbortedError(HyperionError):
    code = "rollout.aborted"


class RegistryError(HyperionError):
    code = "registry.error"


class BudgetError(HyperionError):
    code = "quantize.budget"


class EngineError(HyperionError):
    code = "engine.error"


class HostError(HyperionError):
    code = "host.error"


def error_from(name: str, details: Mapping[str, object]) -> HyperionError:
    """An error that another process of ours reported, as the very class and code that it named there.

    Args:
        name: Name of a class of this module; an unknown one gives a HyperionError.
        details: What ``details()`` returned; unknown keys are ignored.
    """
    found = globals().get(name)
    kind = found if isinstance(found, type) and issubclass(found, HyperionError) else HyperionError
    message, hint = str(details.get("message", name)), details.get("hint")
    error = HyperionError.__new__(kind)
    HyperionError.__init__(
        error,
        message,
        hint=None if hint is None else str(hint),
        code=str(details.get("code", kind.code)),
        entry=None if details.get("entry") is None else str(details["entry"]),
        expected=details.get("expected"),
        actual=details.get("actual"),
    )
    if isinstance(error, ConfigError):
        listed = details.get("problems")
        problems = listed if isinstance(listed, list) else []
        error.problems = tuple(Problem(str(p["path"]), str(p["message"])) for p in problems if isinstance(p, dict))
    return error
