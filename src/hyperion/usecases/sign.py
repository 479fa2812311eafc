"""Sign a package: model.sig says which files were signed and by which key; no payload is read, no digest changes."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.document import Digest, Document
from hyperion.format.signing import make_bundle, statement_for
from hyperion.format.signing_key import SigningKey
from hyperion.ports import Host
from hyperion.ports.files import ChangeMethod, Repair


class SignedPackage(Document):
    """A package that was signed."""

    name: str
    version: str
    path: str
    digest: Digest
    """As it was: the signing stands beside what it signs."""
    hint: str
    """Hexadecimal SHA-256 of the signer's public key in PEM."""
    files: int
    """How many files the signing names: all entries and manifest.json."""
    replaced: bool
    """Whether another signing stood there before."""
    method: ChangeMethod
    repair: Repair


def sign_package(host: Host, path: Path, key: SigningKey) -> SignedPackage:
    """Put a signing into a package, replacing one that is there; it takes as long for a large package as for a small.

    What is signed are the digests of the manifest: that the payloads have them is the question of ``verify``.

    Args:
        host: What the use case runs on.
        path: Package file or directory.
        key: The signer's.

    Raises:
        NotFoundError: There is nothing at ``path``.
        PackageError: It is no package.
        ConflictError: ``path`` is a backup (code ``package.backup``), or another process changes it
            (``package.locked``).
        HostError: No space, no permission.
    """
    with host.packages.changing(path) as change:
        package, manifest = change.package, change.package.manifest
        bundle = make_bundle(statement_for(package.manifest_bytes, manifest), key)
        return SignedPackage(
            name=manifest.name,
            version=manifest.version,
            path=str(path),
            digest=package.digest,
            hint=key.public.hint,
            files=len(manifest.entries) + 1,
            replaced=package.signing is not None,
            method=change.put(package.manifest_bytes, bundle),
            repair=change.repair,
        )
