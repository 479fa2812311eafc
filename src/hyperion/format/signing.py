"""model.sig: a package's statement, signed, as a sigstore bundle v0.3; bytes ↔ what was signed by whom.

What is read may come from anywhere: it is strict JSON within a cap, its base64 has one spelling, and what this reader
does not check (certificates, transparency logs, a second signer) is refused instead of overlooked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hyperion.domain.digest import PREFIX, digest_of, hex_of
from hyperion.domain.document import Document, JsonValue, Many
from hyperion.domain.manifest import SIGNING, Manifest
from hyperion.domain.signing import (
    ALGORITHM,
    BUNDLE_TYPE,
    METHOD,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    dsse_message,
    signed_files,
    subject_digest,
)
from hyperion.errors import ConfigError, MalformedPackageError
from hyperion.format.limits import MAX_SIGNING_BYTES
from hyperion.format.signing_key import SigningKey
from hyperion.format.strict_json import parse_document, parse_json

Hexadecimal = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_AGAIN = "have the package signed again: 'hyperion sign F --key K'"
_OTHER_SIGNERS = ("certificate", "x509CertificateChain")


@dataclass(frozen=True, slots=True)
class Signing:
    """What a bundle claims; nothing of it is proven until a trusted key verifies ``sig`` of ``message``.

    Attributes:
        hint: The hexadecimal SHA-256 of the signer's public key in PEM; None where the bundle does not say.
        sig: What the signer's key made of ``message``: ECDSA, DER.
        message: What was signed.
        files: Digest of every file that was signed, by its path.
    """

    hint: str | None
    sig: bytes
    message: bytes
    files: dict[str, str]


def statement_for(manifest_bytes: bytes, manifest: Manifest) -> bytes:
    """The statement that names every file of a package; canonical, so the same package gives the same bytes.

    Args:
        manifest_bytes: manifest.json as it is stored.
        manifest: The same, read.
    """
    files = signed_files(manifest, digest_of(manifest_bytes))
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest.name, "digest": {ALGORITHM: subject_digest(files.values())}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": METHOD,
                "hash_type": ALGORITHM,
                "allow_symlinks": False,
                "ignore_paths": [SIGNING],
            },
            "resources": [
                {"name": name, "algorithm": ALGORITHM, "digest": hex_of(digest)} for name, digest in files.items()
            ],
        },
    }
    return _dumped(statement)


def make_bundle(statement: bytes, key: SigningKey) -> bytes:
    """The bytes of model.sig: ``statement``, signed."""
    envelope: dict[str, Any] = {
        "payload": _encoded(statement),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": _encoded(key.sign(dsse_message(statement))), "keyid": ""}],
    }
    material: dict[str, Any] = {"publicKey": {"hint": key.public.hint}, "tlogEntries": []}
    return _dumped({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope})


def read_bundle(raw: bytes, source: str) -> Signing:
    """Read what a bundle claims.

    Args:
        raw: The bytes of model.sig.
        source: The package's path, for messages.

    Raises:
        MalformedPackageError: Code ``signing.bundle`` where the envelope, ``signing.statement`` where the statement
            in it is not what it must be.
    """
    where = f"{source}: {SIGNING}"
    try:
        _refuse_other_signers(parse_json(raw, where, limit=MAX_SIGNING_BYTES), where)
        bundle = parse_document(_Bundle, raw, where, limit=MAX_SIGNING_BYTES)
    except ConfigError as error:
        raise _bundle_fault(error.message) from error
    envelope = bundle.envelope
    payload = _decoded(envelope.payload, f"{where}: dsseEnvelope.payload")
    sig = _decoded(envelope.signatures[0].sig, f"{where}: dsseEnvelope.signatures[0].sig")
    try:
        statement = parse_document(_Statement, payload, f"{where}: the statement", limit=MAX_SIGNING_BYTES)
    except ConfigError as error:
        raise _statement_fault(error.message) from error
    files = _files(statement, where)
    return Signing(bundle.material.public_key.hint, sig, dsse_message(payload), files)


def _files(statement: _Statement, where: str) -> dict[str, str]:
    """The resources by name, once they are found to be what the subject stands for."""
    resources = statement.predicate.resources
    files = {resource.name: PREFIX + resource.digest for resource in resources}
    if len(files) != len(resources):
        twice, _ = Counter(resource.name for resource in resources).most_common(1)[0]
        raise _statement_fault(f"{where}: the statement names {twice!r} twice")
    expected, found = subject_digest(files.values()), statement.subject[0].digest.sha256
    if found != expected:
        raise _statement_fault(
            f"{where}: the statement contradicts itself: its subject is {found}, its resources come to {expected}"
        )
    return files


def _refuse_other_signers(tree: JsonValue, where: str) -> None:
    material = tree.get("verificationMaterial") if isinstance(tree, dict) else None
    found = [name for name in _OTHER_SIGNERS if isinstance(material, dict) and name in material]
    if found:
        raise _bundle_fault(
            f"{where}: expected a signing by a key, found one by a certificate (verificationMaterial.{found[0]})",
            hint="check it with the model-signing library, or have the package signed with a key",
        )


def _dumped(tree: dict[str, Any]) -> bytes:
    """JSON in one spelling: of ASCII words alone, sorted keys without spaces are canonical (RFC 8785)."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode("ascii")


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str, where: str) -> bytes:
    """The bytes of a base64 text in its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bundle_fault(f"{where} is no base64") from error
    if not data or _encoded(data) != text:
        raise _bundle_fault(f"{where} is {'no canonical base64' if data else 'empty'}")
    return data


def _bundle_fault(message: str, hint: str = _AGAIN) -> MalformedPackageError:
    return MalformedPackageError(message, hint=hint, entry=SIGNING, code="signing.bundle")


def _statement_fault(message: str) -> MalformedPackageError:
    return MalformedPackageError(message, hint=_AGAIN, entry=SIGNING, code="signing.statement")


class _Part(Document):
    """Part of a bundle; nothing of it is signed, so it holds nothing that this reader does not know."""

    model_config = ConfigDict(populate_by_name=False)


class _Signature(_Part):
    sig: str
    keyid: str = ""


class _Envelope(_Part):
    payload: str
    payload_type: Annotated[Literal["application/vnd.in-toto+json"], Field(alias="payloadType")]
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1)]


class _KeyName(_Part):
    hint: Hexadecimal | None = None


class _Material(_Part):
    public_key: Annotated[_KeyName, Field(alias="publicKey")]
    log_entries: Annotated[tuple[JsonValue, ...], Field(alias="tlogEntries", max_length=0)] = ()


class _Bundle(_Part):
    media_type: Annotated[Literal["application/vnd.dev.sigstore.bundle.v0.3+json"], Field(alias="mediaType")]
    material: Annotated[_Material, Field(alias="verificationMaterial")]
    envelope: Annotated[_Envelope, Field(alias="dsseEnvelope")]


class _Signed(BaseModel):
    """Part of a statement: what it says beyond version 1.0 is signed too and may be ignored, as that says."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _SubjectDigest(_Signed):
    sha256: Hexadecimal


class _Subject(_Signed):
    name: str
    digest: _SubjectDigest


class _Resource(_Signed):
    name: str
    algorithm: Literal["sha256"]
    digest: Hexadecimal


class _Serialization(_Signed):
    method: Literal["files"]
    hash_type: Literal["sha256"]


class _Predicate(_Signed):
    serialization: _Serialization
    resources: Many[_Resource]


class _Statement(_Signed):
    kind: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1)]
    predicate_type: Annotated[Literal["https://model_signing/signature/v1.0"], Field(alias="predicateType")]
    predicate: _Predicate
