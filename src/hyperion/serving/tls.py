"""Certificates: read and proven by the supervisor, held by the workers.

A confined worker cannot open the files, which only the supervisor's user should read; so it is told what they hold, and
again whenever they change. New connections then show the new certificate; those that are open go on with theirs.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from hyperion.domain.config import TlsFiles
from hyperion.errors import ConfigError
from hyperion.serving.channel import Credentials

LARGEST_BYTES = 1024 * 1024


def load_credentials(files: TlsFiles) -> Credentials:
    """Read certificate and key, and prove that TLS can be served with them.

    Raises:
        ConfigError: One cannot be read, or they do not fit together (code ``config.tls``).
    """
    found = Credentials(_read(files.certificate, "certificate"), _read(files.key, "key"))
    try:
        server_context(found)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"serve.tls: {files.certificate} and {files.key} serve no TLS: {_reason(error)}",
            hint="expected PEM files: the certificate with those that lead to its authority, and its own private key, "
            "not encrypted",
            code="config.tls",
        ) from error
    return found


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """TLS 1.2 and later, HTTP/1.1.

    Raises:
        OSError, ValueError: The credentials are none, or do not fit together; ssl.SSLError is an OSError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    renew_context(context, credentials)
    return context


def renew_context(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Show these to connections that come from now on; to be called with credentials that were proven.

    Raises:
        OSError, ValueError: As ``server_context``.
    """
    # OpenSSL reads files alone; one in memory needs no place that a confined process may write.
    certificate, key = _in_memory(credentials.certificate), _in_memory(credentials.private_key)
    try:
        context.load_cert_chain(f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}", password=_no_passphrase)
    finally:
        os.close(certificate)
        os.close(key)


def _in_memory(text: str) -> int:
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb", closefd=False) as stream:
        stream.write(text.encode())
    return descriptor


def _no_passphrase() -> str:
    raise ValueError("the private key is encrypted")


def _read(place: str, what: str) -> str:
    try:
        with Path(place).open("rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"serve.tls.{what}: cannot read {place}: {error.strerror}",
            hint="the supervisor's user must be able to read it",
            code="config.tls",
        ) from error
    try:
        if len(raw) > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES} bytes")
        return raw.decode("ascii")
    except ValueError as error:
        raise ConfigError(f"serve.tls.{what}: {place} is no PEM file: {error}", code="config.tls") from error


def _reason(error: Exception) -> str:
    """OpenSSL's words without its source lines."""
    return error.reason.lower().replace("_", " ") if isinstance(error, ssl.SSLError) and error.reason else str(error)
