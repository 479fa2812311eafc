"""Keys for signing: ECDSA on P-256 with SHA-256, in PEM files; every other key is refused by its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from hyperion.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

PASSPHRASE_VARIABLE = "HYPERION_KEY_PASSPHRASE"  # noqa: S105 - the name of the variable

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_PRIVATE_KEYS = ("PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "DSA PRIVATE KEY")
"""Blocks that hold one key; which keys are taken is asked of the key."""
_PUBLIC_KEY = "PUBLIC KEY"
_CURVE = "secp256r1"
_MAKE_ONE = "make a pair of keys with 'hyperion keygen NAME'"


class PublicKey:
    """Half of a pair of keys: tells whether the other half signed something.

    Attributes:
        source: Where it was read from, for messages.
        pem: Its one encoding as PEM.
        hint: The hexadecimal SHA-256 of ``pem``, by which a signing says whose it is.
    """

    def __init__(self, key: EllipticCurvePublicKey, source: str) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        self.source = source
        self.pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.hint = hashlib.sha256(self.pem).hexdigest()

    def verifies(self, sig: bytes, message: bytes) -> bool:
        """Whether the private half made ``sig`` (DER) of ``message``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(sig, message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key.

    Attributes:
        public: Its public half.
    """

    def __init__(self, key: EllipticCurvePrivateKey, source: str) -> None:
        self._key = key
        self.public = PublicKey(key.public_key(), source)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key."""
        from cryptography.hazmat.primitives.asymmetric import ec

        return cls(ec.generate_private_key(ec.SECP256R1()), "the new key")

    def sign(self, message: bytes) -> bytes:
        """What proves that this key signed ``message``: ECDSA with SHA-256, DER."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(message, ECDSA(SHA256()))

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """PKCS #8, encrypted where there is a passphrase."""
        from cryptography.hazmat.primitives import serialization as to

        encryption = to.NoEncryption() if passphrase is None else to.BestAvailableEncryption(passphrase)
        return self._key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, encryption)


def parse_signing_key(pem: bytes, source: str, ask_passphrase: Callable[[], bytes]) -> SigningKey:
    """Read a private key.

    Args:
        pem: The file's bytes.
        source: Its path, for messages.
        ask_passphrase: Called where the key is encrypted.

    Raises:
        ConfigError: It is no P-256 private key in PEM (code ``signing.key``), or its passphrase is wrong
            (``signing.passphrase``).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    labels = [label for label in _labels(pem) if label != "EC PARAMETERS"]  # openssl ecparam writes them first
    if len(labels) != 1 or labels[0] not in _PRIVATE_KEYS:
        raise _wrong_key(source, "private", _described(pem, labels))
    encrypted = labels[0] == "ENCRYPTED PRIVATE KEY" or b"\nProc-Type: 4,ENCRYPTED" in pem
    passphrase = ask_passphrase() if encrypted else None
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise ConfigError(
                f"{source}: the passphrase does not open this key, or the key is damaged",
                hint=f"check {PASSPHRASE_VARIABLE}, or leave it unset to be asked",
                code="signing.passphrase",
            ) from error
        raise _wrong_key(source, "private", "a damaged one") from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != _CURVE:
        raise _wrong_key(source, "private", _kind_of(key))
    return SigningKey(key, source)


def parse_public_key(pem: bytes, source: str) -> PublicKey:
    """Read a public key.

    Raises:
        ConfigError: It is no P-256 public key in PEM (code ``signing.key``).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    labels = _labels(pem)
    if labels != [_PUBLIC_KEY]:
        raise _wrong_key(source, "public", _described(pem, labels))
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _wrong_key(source, "public", "a damaged one") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise _wrong_key(source, "public", _kind_of(key))
    return PublicKey(key, source)


def _labels(pem: bytes) -> list[str]:
    return [label.decode("ascii") for label in _BLOCK.findall(pem)]


def _described(pem: bytes, labels: list[str]) -> str:
    """What a file is that does not hold the one PEM block that it should."""
    if len(labels) > 1:
        return f"{len(labels)} PEM blocks ({', '.join(labels[:4])})"
    if labels:
        return f"a PEM block of the kind {labels[0]}"
    return "an empty file" if not pem else "no PEM file"


def _kind_of(key: object) -> str:
    """``a key of the curve secp384r1``, ``a key of the kind RSA of 3072 bits``."""
    curve = getattr(key, "curve", None)
    if curve is not None:
        return f"a key of the curve {curve.name}"
    kind = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_")
    size = getattr(key, "key_size", None)
    return f"a key of the kind {kind}{f' of {size} bits' if size else ''}"


def _wrong_key(source: str, half: str, found: str) -> ConfigError:
    other = "" if half == "private" else "; --trust takes NAME.pub"
    return ConfigError(
        f"{source}: expected a P-256 {half} key in PEM, found {found}", hint=_MAKE_ONE + other, code="signing.key"
    )
