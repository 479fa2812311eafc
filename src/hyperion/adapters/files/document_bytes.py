"""Documents as JSON whose texts may name files: a file's name on Linux is any bytes, JSON is UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from hyperion.domain.document import Document


def document_bytes(document: Document, *, indent: int | None = None) -> bytes:
    """A document as JSON; bytes of a file's name that are not UTF-8 come out as ``?``, since none must be found by it.

    Args:
        document: Any; a float that is not finite becomes null.
        indent: Spaces for each level; None for one line.
    """
    return to_json(_portable(document.model_dump(mode="json")), indent=indent, inf_nan_mode="null")


def _portable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_portable(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return value
