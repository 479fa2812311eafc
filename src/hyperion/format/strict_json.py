"""JSON that means one thing: what one reader sees is what every reader sees.

Refused beyond plain syntax: duplicate keys, NaN and infinities, a byte-order mark, bad UTF-8, lone surrogates,
integers beyond ±(2^53-1), nesting deeper than 64, oversized documents. Documents report all their faults at once.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from hyperion.errors import ConfigError, Problem
from hyperion.format.limits import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_INTEGER

Model = TypeVar("Model", bound=BaseModel)

_SHOWN_CHARACTERS = 80
_SHOWN_PROBLEMS = 10


def parse_json(raw: bytes, source: str, *, limit: int = MAX_JSON_BYTES) -> JsonValue:
    """Parse one JSON text.

    Args:
        raw: The text, UTF-8.
        source: What to call it in messages, such as its path.
        limit: Largest size in bytes.

    Raises:
        ConfigError: Code ``json.invalid``; the message names the fault and, where known, line and column.
    """
    if len(raw) > limit:
        raise _refusal(source, f"has {len(raw)} bytes; at most {limit} are read")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _refusal(source, "begins with a byte-order mark; save it as plain UTF-8")
    try:
        value: JsonValue = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _refusal(source, f"is no UTF-8 text: bad byte at offset {error.start}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _refusal(source, f"is no valid JSON at {where}: {error.msg}") from error
    except RecursionError as error:
        raise _refusal(source, f"is nested deeper than {MAX_JSON_DEPTH} levels") from error
    except ValueError as error:
        raise _refusal(source, str(error)) from error
    _check_tree(value, source, escapes=b"\\u" in raw)
    return value


def parse_document(model: type[Model], raw: bytes, source: str, *, limit: int = MAX_JSON_BYTES) -> Model:
    """Parse one JSON document into its model.

    Raises:
        ConfigError: Not strict JSON (code ``json.invalid``), or keys and values that the model refuses
            (code ``config.invalid``); ``problems`` holds every fault with its JSON path.
    """
    tree = parse_json(raw, source, limit=limit)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        problems = [_problem(details, tree) for details in faults]
        raise faulty_document(source, problems, hint=_known_keys(model, faults)) from error


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


def _refusal(source: str, fault: str) -> ConfigError:
    return ConfigError(f"{source} {fault}", problems=[Problem("", fault)], code="json.invalid")


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"has the key {twice[:_SHOWN_CHARACTERS]!r} twice in one object")
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


def _check_tree(value: JsonValue, source: str, *, escapes: bool) -> None:
    """Demand a bounded depth and, where the text has escapes, strings without lone surrogates."""
    level: list[JsonValue] = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        if escapes and any(isinstance(text, str) and _has_surrogate(text) for text in _texts(level)):
            raise _refusal(source, "has a lone surrogate, which is no character")
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise _refusal(source, f"is nested deeper than {MAX_JSON_DEPTH} levels")


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
    message = details["msg"].removeprefix("Value error, ")
    found = repr(details["input"])
    if len(found) > _SHOWN_CHARACTERS:
        found = found[:_SHOWN_CHARACTERS] + "…"
    return Problem(path, f"{message[:1].lower()}{message[1:]}, found {found}")


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
