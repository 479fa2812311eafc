"""sign and keygen: a signing goes into every form of a package, and changes nothing else."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.fakes.stage import Stage
from tests.packages import write_directory, write_package
from tests.partial_host import files_host
from tests.small_disk import small_disk

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.finding import Outcome
from hyperion.domain.version import Step
from hyperion.errors import ConfigError, ConflictError, HostError, HyperionError, NotFoundError, PackageError
from hyperion.format.signing_key import PublicKey, SigningKey
from hyperion.ports import Host
from hyperion.usecases.deploy import deploy_model
from hyperion.usecases.key_file import load_public_key, load_signing_key, make_key_pair
from hyperion.usecases.sign import sign_package
from hyperion.usecases.version import update_version
from hyperion.verification.signing import check_signing

KEY = SigningKey.generate()


FILES = AtomicFiles()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return files_host(tmp_path / "state")


def outcomes(path: Path, *keys: PublicKey) -> dict[str, Outcome]:
    with LocalPackages().open(path) as package:
        return {finding.check: finding.outcome for finding in check_signing(package, keys)}


TRUSTED = {
    "signing.present": Outcome.PASSED, "signing.valid": Outcome.PASSED, "signing.trusted": Outcome.PASSED,
}  # fmt: skip


@pytest.mark.parametrize("write", [write_package, write_directory], ids=["file", "directory"])
def test_a_signed_package_verifies_and_has_the_digest_that_it_had(host: Host, tmp_path: Path, write: object) -> None:
    path = write(tmp_path / "tiny")  # type: ignore[operator]
    with LocalPackages().open(path) as package:
        digest = package.digest

    signed = sign_package(host, path, KEY)

    assert (signed.digest, signed.hint, signed.files, signed.replaced) == (digest, KEY.public.hint, 5, False)
    assert outcomes(path, KEY.public) == TRUSTED


def test_the_signing_is_an_entry_before_the_manifest_and_the_payloads_do_not_move(host: Host, tmp_path: Path) -> None:
    path = write_package(tmp_path / "tiny.hyperion")
    before = path.read_bytes()

    sign_package(host, path, KEY)

    with LocalPackages().open(path) as package:
        names = [record.name for record in package.records()]  # type: ignore[attr-defined]
        begin = package.signing_offset  # type: ignore[attr-defined]
    assert names[-1] == "model.sig"
    assert path.read_bytes()[:begin] == before[:begin]


def test_signing_again_replaces_the_signing(host: Host, tmp_path: Path) -> None:
    path, other = write_package(tmp_path / "tiny.hyperion"), SigningKey.generate()
    sign_package(host, path, other)

    signed = sign_package(host, path, KEY)

    assert signed.replaced
    assert outcomes(path, KEY.public) == TRUSTED
    assert outcomes(path, other.public)["signing.trusted"] is Outcome.FAILED


def test_the_store_and_an_export_keep_the_signing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    path = stage.package()
    sign_package(stage.host, path, KEY)
    with LocalPackages().open(path) as package:
        digest = stage.store.admit(package)

    stage.store.export(digest, tmp_path / "again.hyperion")

    with stage.store.open(digest) as stored:
        assert {finding.outcome for finding in check_signing(stored, [KEY.public])} == {Outcome.PASSED}
    assert (tmp_path / "again.hyperion").read_bytes() == path.read_bytes()


def test_what_is_signed_while_it_serves_is_deployed_again_and_backed_up_signed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.deploy()
    unsigned = stage.backup()
    path = stage.folder / "tiny0.hyperion"
    sign_package(stage.host, path, KEY)

    deployed = deploy_model(stage.host, path, DeploymentConfig(), stage.reporter)
    again = deploy_model(stage.host, path, DeploymentConfig(), stage.reporter)
    signed = stage.backup()

    assert (deployed.unchanged, again.unchanged, unsigned.unchanged, signed.unchanged) == (False, True, False, False)
    assert outcomes(Path(signed.path), KEY.public) == TRUSTED
    assert outcomes(Path(str(signed.kept_as))) == {}
    assert stage.backup().unchanged


def test_a_rollback_brings_the_old_signing_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    path = stage.package()
    sign_package(stage.host, path, KEY)
    first = deploy_model(stage.host, path, DeploymentConfig(), stage.reporter)
    stage.backup()
    shutil.rmtree(tmp_path / "state" / "signings")
    stage.deploy(1, version="1.1.0")

    stage.roll_back()

    with stage.store.open(first.digest) as stored:
        assert {finding.outcome for finding in check_signing(stored, [KEY.public])} == {Outcome.PASSED}


def test_a_version_update_makes_a_signing_void_or_signs_anew(host: Host, tmp_path: Path) -> None:
    path = write_package(tmp_path / "tiny.hyperion")
    sign_package(host, path, KEY)

    update_version(host, path, Step.PATCH, None)
    without = outcomes(path, KEY.public)
    update_version(host, path, Step.PATCH, None, KEY)

    assert without == {"signing.present": Outcome.FAILED}
    assert outcomes(path, KEY.public) == TRUSTED


def test_a_backup_is_not_signed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.deploy()
    kept = Path(stage.backup().path)

    with pytest.raises(ConflictError) as caught:
        sign_package(stage.host, kept, KEY)

    assert caught.value.code == "package.backup"


def test_what_is_no_package_is_not_touched(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes")

    with pytest.raises(PackageError):
        sign_package(host, path, KEY)

    assert path.read_text() == "my notes"


def test_nothing_at_a_path_is_said(host: Host, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        sign_package(host, tmp_path / "absent.hyperion", KEY)


# --- keys in files ---


def test_a_pair_of_keys_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    os.umask(os.umask(0o022))

    pair = make_key_pair(FILES, tmp_path / "release", None)

    private, public = Path(pair.private_key), Path(pair.public_key)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_signing_key(private, bytes, CollectingReporter()).public.hint == pair.hint
    assert load_public_key(public).hint == pair.hint


def test_an_encrypted_pair_asks_for_its_passphrase(tmp_path: Path) -> None:
    pair = make_key_pair(FILES, tmp_path / "release", b"s3cret")

    with pytest.raises(ConfigError) as caught:
        load_signing_key(Path(pair.private_key), lambda: b"wrong", CollectingReporter())

    assert caught.value.code == "signing.passphrase"
    assert load_signing_key(Path(pair.private_key), lambda: b"s3cret", CollectingReporter()).public.hint == pair.hint


@pytest.mark.parametrize("suffix", [".key", ".pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, suffix: str) -> None:
    there = tmp_path / f"release{suffix}"
    there.write_text("mine")

    with pytest.raises(ConflictError) as caught:
        make_key_pair(FILES, tmp_path / "release", None)

    assert caught.value.code == "signing.key_exists"
    assert [path.name for path in tmp_path.iterdir()] == [there.name]
    assert there.read_text() == "mine"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        make_key_pair(FILES, tmp_path / "absent" / "release", None)

    assert (caught.value.code, caught.value.hint) == ("host.no_folder", "make it first")


@pytest.mark.parametrize("end", ["", ".", "..", "keys/", "keys/.", "keys/.."])
def test_a_name_that_is_none_is_refused(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as caught:
        make_key_pair(FILES, end, None)

    assert caught.value.code == "signing.key_name"
    assert [path.name for path in tmp_path.rglob("*")] == ["keys"]


def test_a_full_disk_leaves_no_half_pair(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4k") as small:  # room for one file's page
        (small / "filled").write_bytes(b"x")

        with pytest.raises(HostError) as caught:
            make_key_pair(FILES, small / "release", None)

        assert caught.value.code == "host.no_space"
        assert [path.name for path in small.iterdir()] == ["filled"]


def test_a_private_key_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    pair, reporter = make_key_pair(FILES, tmp_path / "release", None), CollectingReporter()
    Path(pair.private_key).chmod(0o640)

    load_signing_key(Path(pair.private_key), bytes, reporter)

    assert reporter.warnings == [
        f"{pair.private_key} can be read by other users; 'chmod 600 {pair.private_key}' keeps it yours"
    ]


@pytest.mark.parametrize(
    ("make", "kind", "code"),
    [
        (lambda path: None, NotFoundError, "signing.key_not_found"),
        (lambda path: path.mkdir(), ConfigError, "signing.key"),
        (lambda path: path.write_bytes(b"x" * 70_000), ConfigError, "signing.key"),
        (lambda path: path.symlink_to(path), HostError, "signing.key_unreadable"),
    ],
    ids=["absent", "a folder", "a large file", "a loop"],
)
def test_a_key_file_that_is_none_is_said(tmp_path: Path, make: object, kind: type[HyperionError], code: str) -> None:
    path = tmp_path / "release.pub"
    make(path)  # type: ignore[operator]

    with pytest.raises(kind) as caught:
        load_public_key(path)

    assert caught.value.code == code
