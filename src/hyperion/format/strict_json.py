"""JSON that means one thing: what one reader sees is what every reader sees.

Refused beyond plain syntax: duplicate keys, NaN and infinities, a byte-order mark, bad UTF-8, lone surrogates,
integers beyond ±(2^53-1), nesting deeper than 64, oversized documents. Documents report all their faults at once.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from hyperion.errors import ConfigError, Problem
from hyperion.format.limits import (
    MAX_DOCUMENT_MARKS,
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_JSON_INTEGER,
    MAX_JSON_MARKS,
    MAX_WIDE_JSON_BYTES,
)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200

Model = TypeVar("Model", bound=BaseModel)

_SHOWN_CHARACTERS = 80
_SHOWN_PROBLEMS = 10
LISTED_PROBLEMS = 10_000
"""A document with more faults is refused as a whole: each would cost a kilobyte of memory."""
_LENGTHS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
"""What pydantic calls lists of the wrong length, and where it keeps the right one."""
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def parse_json(raw: bytes, source: str, *, limit: int = MAX_JSON_BYTES, marks: int = MAX_JSON_MARKS) -> JsonValue:
    """Parse one JSON text.

    Args:
        raw: The text, UTF-8.
        source: What to call it in messages, such as its path.
        limit: Largest size in bytes.
        marks: Largest count of commas and opening brackets.

    Raises:
        ConfigError: The message names the fault and, where known, line and column. Code ``json.too_large`` (bytes or
            values), ``json.encoding``, ``json.duplicate_key``, ``json.number``, ``json.nesting`` or ``json.invalid``.
    """
    fault = size_fault(raw, limit, marks)
    if fault is not None:
        raise ConfigError(f"{source} {fault}", problems=_whole(fault), code="json.too_large")
    try:
        decoder = _DECODER if _LONG_NUMBER.search(raw) else _QUICK_DECODER
        value: JsonValue = decoder.decode(_text(raw, source))
    except json.JSONDecodeError as error:
        fault = f"is no valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise ConfigError(f"{source} {fault}", problems=_whole(fault), code="json.invalid") from error
    except RecursionError as error:
        raise _too_deep(source) from error
    except _DuplicateKeyError as error:
        raise ConfigError(f"{source} {error}", problems=_whole(str(error)), code="json.duplicate_key") from error
    except ValueError as error:
        raise ConfigError(f"{source} {error}", problems=_whole(str(error)), code="json.number") from error
    _check_tree(value, source, escapes=b"\\u" in raw)
    return value


def size_fault(raw: bytes, limit: int, marks: int) -> str | None:
    """Why reading ``raw`` could take more time or memory than a few seconds and 200 MB; None where it cannot."""
    if len(raw) > limit:
        return f"has {len(raw)} bytes; at most {limit} are read"
    if len(raw) > MAX_WIDE_JSON_BYTES and (b"\\u" in raw or not raw.isascii()):  # four bytes of memory a character
        return f"has {len(raw)} bytes; at most {MAX_WIDE_JSON_BYTES} are read where characters are beyond ASCII"
    found = sum(map(raw.count, (b",", b"[", b"{"))) if len(raw) > marks else 0
    return f"has {found} commas and opening brackets; at most {marks} are read" if found > marks else None


def parse_document(model: type[Model], raw: bytes, source: str, *, limit: int = MAX_JSON_BYTES) -> Model:
    """Parse one JSON document into its model.

    Raises:
        ConfigError: Not strict JSON (code ``json.invalid``), or keys and values that the model refuses
            (code ``config.invalid``); ``problems`` holds every fault with its JSON path.
    """
    parse_json(raw, source, limit=limit, marks=MAX_DOCUMENT_MARKS)
    return checked_document(model, raw, source)


def checked_document(model: type[Model], raw: bytes, source: str) -> Model:
    """The document in ``raw``, which is strict JSON.

    Raises:
        ConfigError: Code ``config.invalid``; ``problems`` holds every fault with its JSON path.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        if error.error_count() > LISTED_PROBLEMS:
            raise unlisted_faults(source, error.error_count()) from error
        faults, tree = _causes(error.errors(include_url=False)), json.loads(raw)
        problems = [_problem(details, tree) for details in faults]
        raise faulty_document(source, problems, hint=_known_keys(model, faults)) from error


def _causes(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """The faults without those lists that are too short only because their items have faults of their own."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(len(place) > len(fault["loc"]) and place[: len(fault["loc"])] == fault["loc"] for place in places)
    ]


def unlisted_faults(source: str, count: int) -> ConfigError:
    """The error for a document with more faults than anybody would read."""
    return faulty_document(source, [Problem("", f"has {count} faults")])


def faulty_document(source: str, problems: list[Problem], *, hint: str | None = None) -> ConfigError:
    """The error for a document with these faults; its message names the first ten."""
    shown = "; ".join(str(problem) for problem in problems[:_SHOWN_PROBLEMS])
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    return ConfigError(f"{source}: {shown}{more}", problems=problems, hint=hint)


def _known_keys(model: type[BaseModel], faults: list[ErrorDetails]) -> str | None:
    """The keys that there are where the first unknown one stands; None where all keys are known."""
    place = next((fault["loc"][:-1] for fault in faults if fault["type"] == "extra_forbidden"), None)
    if place is None:
        return None
    found: type[BaseModel] = model
    for part in place:
        field = found.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        found = field.annotation
    keys = ", ".join(field.alias or name for name, field in found.model_fields.items())
    return f"the keys{f' of {json_path(place)}' if place else ''} are {keys}"


def json_path(parts: tuple[str | int, ...]) -> str:
    """``("serve", "ports", 0)`` → ``serve.ports[0]``; keys that are no plain words are quoted."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.replace("$", "_").replace("-", "_").isidentifier():
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part)}]"
    return path


def _text(raw: bytes, source: str) -> str:
    if raw.startswith(_BYTE_ORDER_MARKS):
        fault = "begins with a byte-order mark; save it as plain UTF-8"
        raise ConfigError(f"{source} {fault}", problems=_whole(fault), code="json.encoding")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = f"is no UTF-8 text: bad byte at offset {error.start}"
        raise ConfigError(f"{source} {fault}", problems=_whole(fault), code="json.encoding") from error


def _too_deep(source: str) -> ConfigError:
    fault = f"is nested deeper than {MAX_JSON_DEPTH} levels"
    return ConfigError(f"{source} {fault}", problems=_whole(fault), code="json.nesting")


def _whole(fault: str) -> list[Problem]:
    """A fault of the document as a whole."""
    return [Problem("", fault)]


class _DuplicateKeyError(ValueError):
    """An object has a key twice."""


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _DuplicateKeyError(f"has the key {twice[:_SHOWN_CHARACTERS]!r} twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > len(str(-MAX_JSON_INTEGER)) or abs(int(text)) > MAX_JSON_INTEGER:
        raise ValueError(f"has the integer {text[:_SHOWN_CHARACTERS]}, which is beyond ±(2^53-1)")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"has the number {text[:_SHOWN_CHARACTERS]}, which no double can hold")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"has {text}, which is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
_QUICK_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
"""The same where no integer is long enough to be beyond the limit, so that none needs a look."""
_LONG_NUMBER = re.compile(rb"[0-9]{16}")


def _check_tree(value: JsonValue, source: str, *, escapes: bool) -> None:
    """Demand a bounded depth and, where the text has escapes, strings without lone surrogates."""
    level: list[JsonValue] = [value]
    for depth in range(MAX_JSON_DEPTH + 1):
        if escapes and any(isinstance(text, str) and _has_surrogate(text) for text in _texts(level)):
            fault = "has a lone surrogate, which is no character"
            raise ConfigError(f"{source} {fault}", problems=_whole(fault), code="json.encoding")
        level = [node for node in level if isinstance(node, (dict, list))]
        if level and depth == MAX_JSON_DEPTH:
            raise _too_deep(source)
        level = [child for node in level for child in _children(node)]


def _children(node: JsonValue) -> Iterator[JsonValue]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _texts(level: list[JsonValue]) -> Iterator[JsonValue]:
    for node in level:
        yield node
        if isinstance(node, dict):
            yield from node


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _problem(details: ErrorDetails, tree: JsonValue) -> Problem:
    path = json_path(_real_location(details["loc"], tree))
    if details["type"] == "extra_forbidden":
        return Problem(path, "unknown key")
    if details["type"] == "missing":
        return Problem(path, "required, but missing")
    if details["type"] in _LENGTHS:
        bound, key = _LENGTHS[details["type"]]
        limits = details["ctx"]
        items = "item" if limits[key] == 1 else "items"
        found = "more" if limits["actual_length"] is None else limits["actual_length"]
        return Problem(path, f"expected {bound} {limits[key]} {items}, found {found}")
    message = details["msg"].removeprefix("Value error, ")
    return Problem(path, f"{message[:1].lower()}{message[1:]}, found {shortened(details['input'])}")


def shortened(value: object) -> str:
    """A value as messages show it: what a document holds may be as large as the document."""
    found = _SHORT.repr(value)
    return found if len(found) <= _SHOWN_CHARACTERS else found[:_SHOWN_CHARACTERS] + "…"


def _real_location(location: tuple[str | int, ...], tree: JsonValue) -> tuple[str | int, ...]:
    """``location`` without the names of union members that pydantic puts between the keys."""
    found: list[str | int] = []
    node = tree
    for index, part in enumerate(location):
        if isinstance(node, dict) and isinstance(part, str):
            if part not in node and index < len(location) - 1:
                continue
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            continue
        found.append(part)
    return tuple(found)
