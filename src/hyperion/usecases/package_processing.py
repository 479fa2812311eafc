"""config/processing.json while packaging: what is written must be usable, for nobody can mend it later."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hyperion.domain.manifest import PROCESSING, Manifest
from hyperion.domain.processing import ClassesOutput, Processing
from hyperion.domain.tensor import Signature
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document
from hyperion.ports import Host, ModelGraph, ModelSource
from hyperion.usecases.package_contents import open_source


def processing_labels(source: ModelSource) -> tuple[str, ...] | None:
    """Names of the classes as config/processing.json gives them, for a model whose hyperion.json names none.

    Raises:
        ConfigError: The document is none.
    """
    path = _path(source)
    if path is None:
        return None
    output = parse_document(Processing, _read(path), str(path)).output
    return output.labels if isinstance(output, ClassesOutput) else None


def check_processing(host: Host, source: ModelSource, signature: Signature, graph: ModelGraph) -> None:
    """Demand that the model directory's config/processing.json, where it has one, fits the model, tokenizer included.

    An id beyond the model's table would fail each request that holds such a token, and no other.

    Raises:
        ConfigError: All its faults at once, by file and field.
    """
    path = _path(source)
    if path is not None:
        entries = {file.entry: partial(_read, file.path) for file in source.files}
        host.processors.check(_read(path), str(path), signature, entries, graph.index_bound)


def check_edited_processing(host: Host, package: PackageReader, before: Manifest) -> None:
    """The same for a new package made of an old one; a document that was not touched stays as it is.

    Raises:
        ConfigError: All its faults at once.
    """
    entry = package.manifest.entries.get(PROCESSING)
    if entry is None or entry == before.entries.get(PROCESSING):
        return
    entries = {name: partial(package.read, name) for name in package.names()}
    source = f"{package.source}: {PROCESSING}"
    host.processors.check(package.read(PROCESSING), source, package.manifest.signature, entries)


def _path(source: ModelSource) -> Path | None:
    return next((file.path for file in source.files if file.entry == PROCESSING), None)


def _read(path: Path) -> bytes:
    with open_source(path) as stream:
        return stream.read()
