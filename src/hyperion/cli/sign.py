"""``hyperion sign`` and ``hyperion keygen``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, json_option
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_signing import show_key_pair, show_signed
from hyperion.errors import ConfigError


@click.command(
    cls=Command,
    examples=("hyperion sign model.hyperion --key release.key",),
    exit_codes=(3, 5, 6, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option("--key", type=PATH, required=True, metavar="K", help="Your private key: P-256, PEM, perhaps encrypted.")
@json_option
def sign(path: Path, key: Path, as_json: bool) -> None:
    """Sign a package: put model.sig into it, an OpenSSF Model Signing bundle; a signing that is there is replaced.

    The package's digest stays as it is. A key's passphrase is taken from HYPERION_KEY_PASSPHRASE, else asked for.
    """
    from hyperion.usecases.key_file import load_signing_key
    from hyperion.usecases.sign import sign_package

    loaded = load_signing_key(key, ask_passphrase, make_reporter(as_json=as_json))
    answer(sign_package(open_host(), path, loaded), as_json, show_signed)


@click.command(
    cls=Command,
    examples=("hyperion keygen release", "hyperion keygen release --encrypt"),
    exit_codes=(6, 9),
)
@click.argument("output", type=click.Path(readable=False), metavar="NAME")
@click.option("--encrypt", is_flag=True, help="Encrypt the private key with a passphrase.")
@json_option
def keygen(output: str, encrypt: bool, as_json: bool) -> None:
    """Make a pair of keys: NAME.key, which signs and stays with you, and NAME.pub, which others verify with.

    The passphrase is taken from HYPERION_KEY_PASSPHRASE, else asked for.
    """
    from hyperion.usecases.key_file import make_key_pair

    passphrase = ask_passphrase(confirm=True) if encrypt else None
    answer(make_key_pair(open_host().files, output, passphrase), as_json, show_key_pair)


def ask_passphrase(*, confirm: bool = False) -> bytes:
    """The passphrase of a private key, from the environment or from the person at the terminal.

    Raises:
        ConfigError: Nobody can be asked, or it is empty (code ``signing.passphrase``).
    """
    from hyperion.format.signing_key import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = click.prompt("Passphrase of the key", hide_input=True, confirmation_prompt=confirm, err=True)
    if not given:
        raise ConfigError(
            f"the key is encrypted: expected its passphrase in {PASSPHRASE_VARIABLE} or at a terminal, found none",
            hint=f"set {PASSPHRASE_VARIABLE}, or run the command in a terminal",
            code="signing.passphrase",
        )
    return os.fsencode(given)
