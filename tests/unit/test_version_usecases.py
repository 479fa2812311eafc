"""Checking, raising and recovering versions."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from tests.fakes.clock import START
from tests.packages import SIGNATURE, entries, package_bytes, write_directory, write_package
from tests.partial_host import files_host

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.cli.render import make_console
from hyperion.cli.render_version import show_update, show_version
from hyperion.domain.finding import Outcome
from hyperion.domain.manifest import SIGNING, HistoryLine, Parent
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.version import Step
from hyperion.errors import ConfigError, ConflictError, NotFoundError
from hyperion.format.signing import read_bundle
from hyperion.format.signing_key import SigningKey
from hyperion.usecases.version import check_version, recover_version, update_version

DIGEST = "sha256:" + "1" * 64
OTHER_SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 5)),),
    outputs=(*SIGNATURE.outputs, TensorSpec(name="z", dtype="int64", shape=None)),
    labels=("no", "yes"),
)


class TestUpdate:
    @pytest.mark.parametrize("write", [write_package, write_directory])
    @pytest.mark.parametrize(("step", "version"), [("major", "2.0.0"), ("minor", "1.1.0"), ("patch", "1.0.1")])
    def test_version_and_history_change_and_the_payload_does_not(  # type: ignore[no-untyped-def]
        self, write, step: str, version: str, tmp_path: Path
    ) -> None:
        path = write(tmp_path / "p")
        host = files_host(tmp_path)

        update = update_version(host, path, Step(step), "why\n\x1b[31m")

        line = HistoryLine(version=version, message="why\n\x1b[31m", date=START, digest_before=update.digest_before)
        with LocalPackages().open(path) as package:
            assert package.manifest.version == update.version == version
            assert package.manifest.history == (line,)
            assert package.digest == update.digest != update.digest_before
            assert {name: package.read(name) for name in package.names()} == entries()
        assert (update.version_before, update.line) == ("1.0.0", line)
        assert [item.name for item in tmp_path.iterdir()] == ["p"]

    def test_history_grows_by_a_line_each_time(self, tmp_path: Path) -> None:
        path, host = write_package(tmp_path / "p"), files_host(tmp_path)

        first = update_version(host, path, Step.MINOR, None)
        second = update_version(host, path, Step.PATCH, None)

        with LocalPackages().open(path) as package:
            assert [line.version for line in package.manifest.history] == ["1.1.0", "1.1.1"]
        assert second.digest_before == first.digest
        assert second.line.message == ""

    def test_the_date_can_be_fixed_for_reproducible_packages(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        one, two = write_package(tmp_path / "one"), write_package(tmp_path / "two")
        for path in (one, two):
            update = update_version(files_host(tmp_path), path, Step.MINOR, "m")
            assert update.line.date == datetime.fromtimestamp(1_700_000_000, UTC)

        assert one.read_bytes() == two.read_bytes()

    @pytest.mark.parametrize("epoch", ["soon", "1.5", "9" * 30])
    def test_a_wrong_source_date_epoch_changes_nothing(
        self, epoch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        path = write_package(tmp_path / "p")

        with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
            update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert path.read_bytes() == package_bytes()

    def test_a_backup_is_never_changed(self, tmp_path: Path) -> None:
        (tmp_path / "backup").mkdir()
        path = write_package(tmp_path / "backup" / "package.hyperion")

        with pytest.raises(ConflictError) as refused:
            update_version(files_host(tmp_path), tmp_path / "backup", Step.MINOR, None)

        assert refused.value.code == "package.backup"
        assert path.read_bytes() == package_bytes()

    def test_an_endless_message_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="at most 10000"):
            update_version(files_host(tmp_path), write_package(tmp_path / "p"), Step.MINOR, "x" * 10_001)

    def test_a_long_message_is_kept_whole_and_shown_in_short(self, tmp_path: Path) -> None:
        path, host, page = write_package(tmp_path / "p"), files_host(tmp_path), StringIO()
        message = "why " * 1250

        update = update_version(host, path, Step.MINOR, message)

        summary = check_version(host, path)
        show_update(make_console(page), update)
        show_version(make_console(page), summary)
        assert update.line.message == summary.history[0].message == message
        assert page.getvalue().count("why") == 100
        assert page.getvalue().count("…") == 2

    def test_a_missing_package_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            update_version(files_host(tmp_path), tmp_path / "none", Step.MINOR, None)

    def test_a_hard_link_of_the_file_keeps_the_old_version(self, tmp_path: Path) -> None:
        path = write_package(tmp_path / "p")
        (tmp_path / "backup").hardlink_to(path)

        update = update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert (tmp_path / "backup").read_bytes() == package_bytes()
        assert update.method in ("copied", "cloned")
        assert check_version(files_host(tmp_path), path).version == "1.1.0"

    def test_a_symbolic_link_stays_one_and_its_target_is_updated(self, tmp_path: Path) -> None:
        path, link = write_package(tmp_path / "p"), tmp_path / "latest"
        link.symlink_to(path)

        update_version(files_host(tmp_path), link, Step.MINOR, None)

        assert link.is_symlink()
        assert check_version(files_host(tmp_path), path).version == "1.1.0"

    @pytest.mark.parametrize("write", [write_package, write_directory])
    def test_a_signing_is_void_after_an_update_and_the_summary_names_the_signer(  # type: ignore[no-untyped-def]
        self, write, tmp_path: Path
    ) -> None:
        path, host, key = write(tmp_path / "p"), files_host(tmp_path), SigningKey.generate()
        signed = update_version(host, path, Step.MINOR, None, key)

        update = update_version(host, path, Step.MINOR, None)

        assert (signed.signing, signed.signed_before_by) == ("signed", None)
        assert (update.signing, update.signed_before_by) == ("void", key.public.hint)
        with LocalPackages().open(path) as package:
            assert package.signing is None

    @pytest.mark.parametrize("write", [write_package, write_directory])
    def test_a_key_signs_the_new_version_in_the_same_write(self, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        path, host, key = write(tmp_path / "p"), files_host(tmp_path), SigningKey.generate()
        update_version(host, path, Step.MINOR, None, SigningKey.generate())

        update = update_version(host, path, Step.MINOR, None, key)

        assert update.signing == "signed"
        with LocalPackages().open(path) as package:
            assert package.signing is not None
            signing = read_bundle(package.signing, "p")
            assert key.public.verifies(signing.sig, signing.message)
            assert signing.files["manifest.json"] == update.digest

    def test_an_unreadable_signing_is_dropped_without_a_signer(self, tmp_path: Path) -> None:
        path = write_directory(tmp_path / "p")
        (path / SIGNING).write_bytes(b"no bundle")

        update = update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert (update.signing, update.signed_before_by) == ("void", None)

    def test_a_step_smaller_than_the_change_since_the_parent_is_refused(self, tmp_path: Path) -> None:
        parent = Parent(digest=DIGEST, version="1.0.0", signature=OTHER_SIGNATURE)
        path = write_package(tmp_path / "p", parent=parent)
        old = path.read_bytes()

        with pytest.raises(ConflictError) as refused:
            update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert refused.value.code == "version.step_too_small"
        assert path.read_bytes() == old

    def test_a_message_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no UTF-8 text"):
            update_version(files_host(tmp_path), write_package(tmp_path / "p"), Step.MINOR, "\udcff")

    def test_a_manifest_that_no_reader_would_take_is_not_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hyperion.usecases.version.MAX_MANIFEST_BYTES", 100)
        path = write_package(tmp_path / "p")

        with pytest.raises(ConfigError, match="at most 100 are read"):
            update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert path.read_bytes() == package_bytes()


class TestRecover:
    @pytest.mark.parametrize("write", [write_package, write_directory])
    def test_a_healthy_package_stays_as_it_is(self, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        path = write(tmp_path / "p")

        recovery = recover_version(files_host(tmp_path), path)

        assert (recovery.repair, recovery.version, recovery.is_signed) == ("none", "1.0.0", False)
        with LocalPackages().open(path) as package:
            assert package.digest == recovery.digest

    def test_a_backup_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "backup").mkdir()
        write_package(tmp_path / "backup" / "package.hyperion")

        with pytest.raises(ConflictError) as refused:
            recover_version(files_host(tmp_path), tmp_path / "backup")

        assert refused.value.code == "package.backup"


class TestCheck:
    def outcomes(self, tmp_path: Path, **fields: object) -> dict[str, Outcome]:
        summary = check_version(files_host(tmp_path), write_package(tmp_path / "p", **fields))
        return {finding.check: finding.outcome for finding in summary.findings}

    def test_a_fresh_package_is_fine(self, tmp_path: Path) -> None:
        summary = check_version(files_host(tmp_path), write_package(tmp_path / "p", version="1.0.0-rc.1"))

        assert summary.ok
        assert (summary.name, summary.version, summary.is_prerelease) == ("tiny", "1.0.0-rc.1", True)
        assert (summary.parent, summary.history, summary.format_version) == (None, (), 1)

    def test_a_history_that_ends_elsewhere_fails(self, tmp_path: Path) -> None:
        lines = (HistoryLine(version="0.9.0", message=""),)

        summary = check_version(files_host(tmp_path), write_package(tmp_path / "p", history=lines))

        assert not summary.ok
        assert self.outcomes(tmp_path, history=lines)["version.history"] is Outcome.FAILED

    @pytest.mark.parametrize(("count", "words"), [(1, "1 line of history ends"), (2, "2 lines of history end")])
    def test_a_history_is_counted(self, count: int, words: str, tmp_path: Path) -> None:
        lines = (HistoryLine(version="1.0.0", message=""),) * count

        summary = check_version(files_host(tmp_path), write_package(tmp_path / "p", history=lines))

        assert f"{words} at 1.0.0" in [finding.summary for finding in summary.findings]

    @pytest.mark.parametrize(
        ("parent", "signature", "outcome"),
        [
            ("0.9.0", SIGNATURE, Outcome.PASSED),
            ("0.9.0", OTHER_SIGNATURE, Outcome.PASSED),
            ("1.0.0-rc.1", SIGNATURE, Outcome.PASSED),
            ("1.0.0-rc.1", OTHER_SIGNATURE, Outcome.PASSED),
            ("1.0.0", SIGNATURE, Outcome.WARNED),
            ("2.0.0", SIGNATURE, Outcome.WARNED),
        ],
    )
    def test_a_version_is_held_against_its_parents(
        self, parent: str, signature: Signature, outcome: Outcome, tmp_path: Path
    ) -> None:
        line = Parent(digest=DIGEST, version=parent, signature=signature)

        assert self.outcomes(tmp_path, parent=line)["version.parent"] is outcome
