"""JSON Schemas of documents, with the docstrings under their attributes as descriptions.

Pydantic can do that itself (``use_attribute_docstrings``), but reads the source of every document at every start of
every process for it; only this page needs them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from hyperion.domain.document import Document


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a document and, in ``$defs``, of those in it."""
    schema = model.model_json_schema(by_alias=True)
    known = {document.__name__: document for document in _documents(Document)}
    for name, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
        if name in known:
            _describe(part, known[name])
    return schema


def _describe(schema: dict[str, Any], document: type[BaseModel]) -> None:
    texts = _attribute_docstrings(document)
    for name, field in document.model_fields.items():
        found = schema["properties"].get(field.alias or name)
        if found is not None and name in texts:
            found.setdefault("description", texts[name])
            _sort(found)


def _sort(found: dict[str, Any]) -> None:
    """Keys in the order that pydantic gives them."""
    ordered = dict(sorted(found.items()))
    found.clear()
    found.update(ordered)


def _attribute_docstrings(document: type[BaseModel]) -> dict[str, str]:
    """What stands under each attribute of the class and of those that it inherits from."""
    texts: dict[str, str] = {}
    for owner in reversed(document.__mro__):
        if not issubclass(owner, Document):
            continue
        source = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        body = [line for found in source.body if isinstance(found, ast.ClassDef) for line in found.body]
        for before, after in pairwise(body):
            match before, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = inspect.cleandoc(text)
    return texts


def _documents(base: type[Document]) -> Iterator[type[Document]]:
    for document in base.__subclasses__():
        yield document
        yield from _documents(document)
