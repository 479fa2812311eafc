"""Keys in files: read one, or write a new pair."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from hyperion.domain.document import Document
from hyperion.errors import ConfigError, ConflictError, HostError, NotFoundError
from hyperion.format.signing_key import PublicKey, SigningKey, parse_public_key, parse_signing_key
from hyperion.ports import Files, Reporter

MAX_KEY_BYTES = 64 * 1024
"""A key beyond this is some other file."""

_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


class KeyPair(Document):
    """A pair of keys that was made."""

    private_key: str
    """Its path; whoever has this file can sign in your name."""
    public_key: str
    """Its path; give it to those who verify."""
    hint: str
    """Hexadecimal SHA-256 of the public key in PEM: how a signing names its signer."""
    encrypted: bool


def load_signing_key(path: Path, ask_passphrase: Callable[[], bytes], reporter: Reporter) -> SigningKey:
    """Read a private key; warns where other users could read it too.

    Raises:
        NotFoundError: There is no such file (code ``signing.key_not_found``).
        ConfigError: It is no P-256 private key (code ``signing.key``), or its passphrase is wrong
            (``signing.passphrase``).
        HostError: It cannot be read.
    """
    pem, mode = _read(path)
    if stat.S_IMODE(mode) & 0o077:
        reporter.warn(f"{path} can be read by other users; 'chmod 600 {path}' keeps it yours")
    return parse_signing_key(pem, str(path), ask_passphrase)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        NotFoundError: There is no such file (code ``signing.key_not_found``).
        ConfigError: It is no P-256 public key (code ``signing.key``).
        HostError: It cannot be read.
    """
    return parse_public_key(_read(path)[0], str(path))


def make_key_pair(files: Files, output: str | Path, passphrase: bytes | None) -> KeyPair:
    """Write a new pair of keys: ``OUTPUT.key``, for its owner alone, and ``OUTPUT.pub``.

    Args:
        files: Writes them.
        output: Path of both without their suffixes, as it was given: one that ends in ``/`` names no file.
        passphrase: Encrypts the private key; None leaves it open.

    Raises:
        ConfigError: ``output`` ends in no name of a file (code ``signing.key_name``).
        ConflictError: One of the files exists (code ``signing.key_exists``); nothing was written.
        HostError: No such folder, no space, no permission.
    """
    private, public = (_named(str(output), suffix) for suffix in (".key", ".pub"))
    for path in (private, public):
        if os.path.lexists(path):
            raise _exists(path)
    key = SigningKey.generate()
    _write_new(files, private, key.to_pem(passphrase), _PRIVATE_MODE)
    try:
        _write_new(files, public, key.public.pem, _PUBLIC_MODE)
    except BaseException:
        private.unlink(missing_ok=True)
        raise
    return KeyPair(
        private_key=str(private), public_key=str(public), hint=key.public.hint, encrypted=passphrase is not None
    )


def _named(output: str, suffix: str) -> Path:
    if output.rpartition("/")[2] in ("", ".", ".."):
        raise ConfigError(
            f"{output!r} ends in no name: NAME.key and NAME.pub would be written",
            hint="give a name, such as 'release' or 'keys/release'",
            code="signing.key_name",
        )
    return Path(output + suffix)


def _read(path: Path) -> tuple[bytes, int]:
    """The bytes of a key file and its mode."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_KEY_BYTES + 1)
            mode = os.fstat(stream.fileno()).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"there is no key file {path}",
            hint="make a pair of keys with 'hyperion keygen NAME'",
            code="signing.key_not_found",
        ) from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder; expected a PEM file", code="signing.key") from error
    except (OSError, ValueError) as error:
        raise HostError(f"cannot read {path}: {error}", code="signing.key_unreadable") from error
    if len(raw) > MAX_KEY_BYTES:
        raise ConfigError(f"{path} has over {MAX_KEY_BYTES} bytes; that is no key", code="signing.key")
    return raw, mode


def _write_new(files: Files, path: Path, data: bytes, mode: int) -> None:
    try:
        files.create(path, data, mode)
    except ConflictError as error:
        raise _exists(path) from error


def _exists(path: Path) -> ConflictError:
    return ConflictError(
        f"{path} exists; a key is never overwritten", hint="choose another name", code="signing.key_exists"
    )
