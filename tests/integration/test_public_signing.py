"""The public model-signing library verifies what we sign, and we verify what it signs.

``tests/golden/signed`` is a tiny package directory that ``model-signing`` 1.1.1 signed with a throwaway key:
``model_signing sign key package --private_key K --signature package/model.sig``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.oracle_venv import MODEL_SIGNING, oracle
from tests.packages import write_directory
from tests.partial_host import files_host

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.finding import Outcome
from hyperion.errors import MalformedPackageError
from hyperion.format.archive import repack
from hyperion.format.signing_key import PublicKey, SigningKey
from hyperion.usecases.key_file import load_public_key
from hyperion.usecases.sign import sign_package
from hyperion.verification.signing import check_signing

FIXTURE = Path(__file__).parent.parent / "golden" / "signed"


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A copy of the package that the public library signed."""
    return Path(shutil.copytree(FIXTURE / "package", tmp_path / "package"))


def faults(path: Path, key: PublicKey) -> list[str]:
    with LocalPackages().open(path) as package:
        found = check_signing(package, [key])
    assert len(found) > 1 or found[0].outcome is Outcome.FAILED
    return [f"{finding.check}: {finding.reason}" for finding in found if finding.outcome is not Outcome.PASSED]


def test_we_verify_what_the_public_library_signed(signed: Path) -> None:
    assert faults(signed, load_public_key(FIXTURE / "release.pub")) == []


def test_its_signing_holds_for_the_package_file_too(signed: Path, tmp_path: Path) -> None:
    with LocalPackages().open(signed) as package, (tmp_path / "packed.hyperion").open("w+b") as stream:
        repack(stream, package)

    assert faults(tmp_path / "packed.hyperion", load_public_key(FIXTURE / "release.pub")) == []


def test_its_signing_does_not_hold_for_another_key(signed: Path) -> None:
    (fault,) = faults(signed, SigningKey.generate().public)

    assert fault.startswith("signing.trusted")


@pytest.mark.parametrize("name", [".git/hooks/post-checkout", ".gitignore", "assets/extra.txt"])
def test_a_file_that_the_public_library_overlooks_is_refused(signed: Path, name: str) -> None:
    (signed / name).parent.mkdir(parents=True, exist_ok=True)
    (signed / name).write_text("#!/bin/sh\n")

    with pytest.raises(MalformedPackageError) as caught:
        LocalPackages().open(signed)

    assert (caught.value.code, caught.value.entry) == ("package.unlisted_entry", name)


# --- with the library itself ---


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(oracle(*MODEL_SIGNING) / "model_signing"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def verified(package: Path, key: Path) -> subprocess.CompletedProcess[str]:
    return model_signing("verify", "key", package, "--public_key", key, "--signature", package / "model.sig")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[SigningKey, Path, Path]:
    """A key, its private file and its public one."""
    key = SigningKey.generate()
    (tmp_path / "k.key").write_bytes(key.to_pem(None))
    (tmp_path / "k.pub").write_bytes(key.public.pem)
    return key, tmp_path / "k.key", tmp_path / "k.pub"


@pytest.mark.slow
def test_the_public_library_verifies_what_we_sign(tmp_path: Path, pair: tuple[SigningKey, Path, Path]) -> None:
    path = write_directory(tmp_path / "package")
    sign_package(files_host(tmp_path / "state"), path, pair[0])

    found = verified(path, pair[2])

    assert (found.returncode, found.stdout.strip()) == (0, "Verification succeeded")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights/layer0.weights", "manifest.json", "assets/README.md"])
def test_the_public_library_finds_a_change_after_we_signed(
    tmp_path: Path, pair: tuple[SigningKey, Path, Path], name: str
) -> None:
    path = write_directory(tmp_path / "package")
    sign_package(files_host(tmp_path / "state"), path, pair[0])
    (path / name).write_bytes((path / name).read_bytes() + b" ")

    assert f"Hash mismatch for '{name}'" in verified(path, pair[2]).stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--no-ignore-git-paths",)])
def test_we_verify_what_it_signs_now(
    tmp_path: Path, pair: tuple[SigningKey, Path, Path], options: tuple[str, ...]
) -> None:
    path = write_directory(tmp_path / "package")

    made = model_signing("sign", "key", path, "--private_key", pair[1], "--signature", path / "model.sig", *options)

    assert made.returncode == 0, made.stderr
    assert faults(path, pair[0].public) == []


@pytest.mark.slow
def test_what_it_signs_without_some_files_is_refused(tmp_path: Path, pair: tuple[SigningKey, Path, Path]) -> None:
    path = write_directory(tmp_path / "package")

    model_signing(
        "sign", "key", path, "--private_key", pair[1], "--signature", path / "model.sig",
        "--ignore-paths", path / "weights",
    )  # fmt: skip

    assert faults(path, pair[0].public) == ["signing.valid: 'weights/layer0.weights' was not signed"]
