"""Read a document that a person wrote: deployment.json, verification.json, memory_config.json."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from hyperion.domain.document import WrittenDocument
from hyperion.errors import ConfigError, HostError, NotFoundError

MAX_CONFIG_BYTES = 1024 * 1024
"""A config beyond this is some other file."""

D = TypeVar("D", bound=WrittenDocument)


def load_config(kind: type[D], path: Path | None) -> D:
    """The document at ``path``, or one with every default where there is no path.

    Raises:
        NotFoundError: There is no such file (code ``config.not_found``).
        ConfigError: It is no JSON, or keys are unknown or have wrong values: all of them, with their paths.
        HostError: It cannot be read.
    """
    from hyperion.format.strict_json import parse_document

    if path is None:
        return kind()
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"there is no config file {path}",
            hint="leave --config out to take the defaults; docs/reference/documents.md has an example",
            code="config.not_found",
        ) from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder; expected a JSON file", code="config.invalid") from error
    except (OSError, ValueError) as error:
        raise HostError(f"cannot read {path}: {error}", code="config.unreadable") from error
    return parse_document(kind, raw, str(path), limit=MAX_CONFIG_BYTES)
