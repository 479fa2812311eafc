"""Keys: P-256 in PEM is taken, everything else is refused by what it is."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hyperion.errors import ConfigError
from hyperion.format.signing_key import SigningKey, parse_public_key, parse_signing_key

KEY = SigningKey.generate()
ENCODING = serialization.Encoding
PRIVATE = serialization.PrivateFormat
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


def no_passphrase() -> bytes:
    raise AssertionError("nobody may be asked")


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def private_pem(key: Any, form: serialization.PrivateFormat = PRIVATE.PKCS8) -> bytes:
    pem: bytes = key.private_bytes(ENCODING.PEM, form, serialization.NoEncryption())
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(ENCODING.PEM, PUBLIC)
    return pem


def test_a_key_survives_its_file() -> None:
    loaded = parse_signing_key(KEY.to_pem(None), "k", no_passphrase)

    assert loaded.public.hint == KEY.public.hint
    assert KEY.public.verifies(loaded.sign(b"x"), b"x")


def test_an_encrypted_key_survives_its_file() -> None:
    loaded = parse_signing_key(KEY.to_pem(b"s3cret"), "k", lambda: b"s3cret")

    assert loaded.public.hint == KEY.public.hint


def test_the_hint_is_the_digest_of_the_public_pem() -> None:
    assert KEY.public.hint == hashlib.sha256(KEY.public.pem).hexdigest()
    assert parse_public_key(KEY.public.pem, "p").hint == KEY.public.hint


def test_another_key_does_not_verify() -> None:
    assert not SigningKey.generate().public.verifies(KEY.sign(b"x"), b"x")


@pytest.mark.parametrize(
    "command",
    [
        "openssl ecparam -name prime256v1 -genkey",
        "openssl ecparam -name prime256v1 -genkey -noout",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes256 -passout pass:s3cret",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -passout pass:s3cret",
    ],
)
def test_what_openssl_writes_is_taken(command: str) -> None:
    made = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no openssl here: {made.stderr.decode()}")

    assert parse_signing_key(made.stdout, "k", lambda: b"s3cret").sign(b"x")


PRIVATE_FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an empty file": (lambda: b"", "found an empty file"),
    "no PEM": (lambda: b"\x30\x77\x02", "found no PEM file"),
    "a public key": (lambda: KEY.public.pem, "found a PEM block of the kind PUBLIC KEY"),
    "a certificate": (
        lambda: b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        "found a PEM block of the kind CERTIFICATE",
    ),
    "an OpenSSH key": (
        lambda: private_pem(ec.generate_private_key(ec.SECP256R1()), PRIVATE.OpenSSH),
        "found a PEM block of the kind OPENSSH PRIVATE KEY",
    ),
    "two keys": (lambda: KEY.to_pem(None) * 2, "found 2 PEM blocks (PRIVATE KEY, PRIVATE KEY)"),
    "RSA": (lambda: private_pem(rsa_key()), "found a key of the kind RSA of 2048 bits"),
    "RSA in its old form": (lambda: private_pem(rsa_key(), PRIVATE.TraditionalOpenSSL), "of the kind RSA of 2048"),
    "Ed25519": (lambda: private_pem(ed25519.Ed25519PrivateKey.generate()), "found a key of the kind Ed25519"),
    "P-384": (lambda: private_pem(ec.generate_private_key(ec.SECP384R1())), "found a key of the curve secp384r1"),
    "another curve of 256 bits": (
        lambda: private_pem(ec.generate_private_key(ec.SECP256K1())),
        "found a key of the curve secp256k1",
    ),
    "damage": (lambda: KEY.to_pem(None).replace(b"MIGHAgEA", b"MIGHAgEB"), "found a damaged one"),
    "a block without an end": (lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA", "found a damaged one"),
}


@pytest.mark.parametrize("name", PRIVATE_FAULTS)
def test_what_is_no_private_key_is_named(name: str) -> None:
    make, said = PRIVATE_FAULTS[name]

    with pytest.raises(ConfigError) as caught:
        parse_signing_key(make(), "release.key", no_passphrase)

    assert caught.value.code == "signing.key"
    assert caught.value.message.startswith("release.key: expected a P-256 private key in PEM, found ")
    assert said in caught.value.message


@pytest.mark.parametrize("passphrase", [b"wrong", b"", b"\xff" * 2000])
def test_a_wrong_passphrase_says_so(passphrase: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_signing_key(KEY.to_pem(b"s3cret"), "release.key", lambda: passphrase)

    assert caught.value.code == "signing.passphrase"
    assert "s3cret" not in caught.value.message


PUBLIC_FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an empty file": (lambda: b"", "found an empty file"),
    "the private half": (lambda: KEY.to_pem(None), "found a PEM block of the kind PRIVATE KEY"),
    "two keys": (lambda: KEY.public.pem * 2, "found 2 PEM blocks"),
    "RSA": (lambda: public_pem(rsa_key()), "found a key of the kind RSA of 2048 bits"),
    "Ed25519": (lambda: public_pem(ed25519.Ed25519PrivateKey.generate()), "found a key of the kind Ed25519"),
    "P-384": (lambda: public_pem(ec.generate_private_key(ec.SECP384R1())), "found a key of the curve secp384r1"),
    "a point off the curve": (
        lambda: KEY.public.pem.replace(KEY.public.pem[60:64], b"AAAA"),
        "found a damaged one",
    ),
}


@pytest.mark.parametrize("name", PUBLIC_FAULTS)
def test_what_is_no_public_key_is_named(name: str) -> None:
    make, said = PUBLIC_FAULTS[name]

    with pytest.raises(ConfigError) as caught:
        parse_public_key(make(), "release.pub")

    assert caught.value.code == "signing.key"
    assert caught.value.message.startswith("release.pub: expected a P-256 public key in PEM, found ")
    assert said in caught.value.message


def test_a_compressed_point_is_the_same_key() -> None:
    made = subprocess.run(
        ["openssl", "ec", "-pubin", "-conv_form", "compressed"], input=KEY.public.pem, capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no openssl here")

    assert made.stdout != KEY.public.pem
    assert parse_public_key(made.stdout, "p").hint == KEY.public.hint
