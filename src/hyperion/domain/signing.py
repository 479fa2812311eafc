"""What a signing says: an OpenSSF Model Signing statement, which names every file of a package with its digest.

The statement is an in-toto Statement v1 in a DSSE envelope in a sigstore bundle, as the public ``model-signing``
library writes it for a directory; so one signing holds for the package file, its extracted directory and the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from hyperion.domain.digest import hex_of
from hyperion.domain.manifest import MANIFEST, Manifest

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
ALGORITHM = "sha256"
METHOD = "files"
"""Every file is digested whole."""


def signed_files(manifest: Manifest, digest: str) -> dict[str, str]:
    """What a signing must name: every entry and manifest.json, each with its digest, in the order of their paths.

    Args:
        manifest: The package's.
        digest: The package's, which is that of manifest.json.
    """
    files = {name: entry.digest for name, entry in manifest.entries.items()} | {MANIFEST: digest}
    return {name: files[name] for name in sorted(files, key=lambda name: name.split("/"))}


def subject_digest(digests: Iterable[str]) -> str:
    """The hexadecimal SHA-256 over the raw bytes of these digests, which stands for all of them."""
    total = hashlib.sha256()
    for digest in digests:
        total.update(bytes.fromhex(hex_of(digest)))
    return total.hexdigest()


def file_differences(signed: Mapping[str, str], present: Mapping[str, str]) -> tuple[str, ...]:
    """How the files that were signed are not those that are there, one sentence each; none where they are the same."""
    missing = [f"{name!r} was signed but is not there" for name in signed if name not in present]
    extra = [f"{name!r} was not signed" for name in present if name not in signed]
    changed = [
        f"{name!r} was signed as {digest}, is {present[name]}"
        for name, digest in signed.items()
        if name in present and present[name] != digest
    ]
    return (*missing, *extra, *changed)


def dsse_message(payload: bytes) -> bytes:
    """What is signed: the DSSE pre-authentication encoding of an in-toto payload.

    Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
    """
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
