"""The commands sign, keygen and sbom as a person or a program calls them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.packages import write_package

from hyperion.cli.main import run

VARIABLE = "HYPERION_KEY_PASSPHRASE"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the working folder, nobody at the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return write_package(Path("tiny.hyperion"))


def test_a_key_is_made_and_signs(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(["keygen", "release", "--json"])
    pair = json.loads(capsys.readouterr().out)

    signed = run(["sign", str(package), "--key", "release.key", "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert (made, signed) == (0, 0)
    assert (answer["hint"], answer["files"], answer["replaced"]) == (pair["hint"], 5, False)


def test_people_are_told_what_was_signed_and_what_to_keep(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["keygen", "release"])
    run(["sign", str(package), "--key", "release.key"])

    page = capsys.readouterr().out
    assert "release.key (not encrypted; keep it to yourself)" in page
    assert "release.pub (give it to those who verify)" in page
    assert page.splitlines()[-1] == "signed tiny 1.0.0 in tiny.hyperion"


def test_an_encrypted_key_opens_with_the_passphrase_of_the_environment(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "Schlüssel 🔑")
    run(["keygen", "release", "--encrypt"])

    code = run(["sign", str(package), "--key", "release.key"])

    assert code == 0
    assert "ENCRYPTED PRIVATE KEY" in Path("release.key").read_text()
    assert "Schlüssel" not in capsys.readouterr().out


@pytest.mark.parametrize("given", [None, "", "wrong"])
def test_without_the_right_passphrase_nothing_is_signed(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str | None
) -> None:
    monkeypatch.setenv(VARIABLE, "right")
    run(["keygen", "release", "--encrypt"])
    capsys.readouterr()
    before = package.read_bytes()
    if given is None:
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, given)

    code = run(["sign", str(package), "--key", "release.key", "--json"])

    error = json.loads(capsys.readouterr().out)["error"]
    assert (code, error["code"]) == (2, "signing.passphrase")
    assert package.read_bytes() == before


def test_nobody_at_the_terminal_makes_no_encrypted_key(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["keygen", "release", "--encrypt"])

    assert code == 2
    assert "code: signing.passphrase" in capsys.readouterr().err
    assert not Path("release.key").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sign", "tiny.hyperion"], 2),
        (["sign", "tiny.hyperion", "--key", "absent.key"], 5),
        (["sign", "tiny.hyperion", "--key", "tiny.hyperion"], 2),
        (["sign", "absent.hyperion", "--key", "release.key"], 5),
        (["keygen", "release"], 6),
        (["keygen", "absent/release"], 9),
        (["keygen", "."], 2),
        (["keygen", ""], 2),
        (["keygen", "folder/"], 2),
        (["verify", "model", "--input", "tiny.hyperion", "--trust", "absent.pub"], 5),
        (["verify", "model", "--input", "tiny.hyperion", "--trust", "release.key"], 2),
        (["sbom", "absent.hyperion", "--output", "x.json"], 5),
        (["sbom", "tiny.hyperion", "--output", "release.pub"], 6),
        (["sbom", "release.pub", "--output", "x.json"], 3),
    ],
)
def test_what_cannot_be_ends_with_its_code(
    package: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    run(["keygen", "release"])

    assert run(arguments) == code


def test_a_bill_of_materials_goes_to_a_file_or_to_stdout(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = run(["sbom", str(package), "--output", "tiny.cdx.json"])
    told = capsys.readouterr().out

    printed = run(["sbom", str(package), "--output", "-"])

    assert (written, printed) == (0, 0)
    assert told.splitlines()[-1] == "wrote the bill of materials of tiny 1.0.0 to tiny.cdx.json"
    assert capsys.readouterr().out == Path("tiny.cdx.json").read_text()
