"""Bad packages, one lie each, with the code of the error that must refuse it and the entry that it must name."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile import (
    lies_chunks,
    lies_container,
    lies_contents,
    lies_manifest,
    lies_names,
    lies_signing,
    lies_weights,
)
from tests.hostile.forge import BadPackage, patched, records_of

__all__ = ["FAMILIES", "BadPackage", "corpus", "patched", "records_of"]

FAMILIES = (
    lies_container.no_packages, lies_container.local_headers, lies_container.directories, lies_container.end_lies,
    lies_container.layouts, lies_names.names, lies_names.listed_names, lies_manifest.texts,
    lies_manifest.format_versions, lies_manifest.documents, lies_manifest.contradictions, lies_chunks.chunks,
    lies_signing.signing, lies_weights.headers, lies_weights.layouts, lies_weights.golden, lies_contents.contents,
    lies_contents.documents, lies_contents.bombs,
)  # fmt: skip


def corpus() -> Iterator[BadPackage]:
    """All of them."""
    for family in FAMILIES:
        yield from family()
