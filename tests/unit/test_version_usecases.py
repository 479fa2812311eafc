"""Checking, raising and comparing versions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fakes.clock import START
from tests.packages import SIGNATURE, entries, package_bytes, write_directory, write_package
from tests.partial_host import files_host

from hyperion.adapters.package_files import LocalPackages
from hyperion.domain.finding import Outcome
from hyperion.domain.manifest import HistoryLine, Parent
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.version import Step
from hyperion.errors import ConfigError, ConflictError, NotFoundError
from hyperion.usecases.version import check_version, compare_versions, update_version

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

        assert refused.value.code == "version.backup"
        assert path.read_bytes() == package_bytes()

    def test_an_endless_message_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="at most 10000"):
            update_version(files_host(tmp_path), write_package(tmp_path / "p"), Step.MINOR, "x" * 10_001)

    def test_a_missing_package_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            update_version(files_host(tmp_path), tmp_path / "none", Step.MINOR, None)

    def test_a_hard_link_of_the_file_keeps_the_old_version(self, tmp_path: Path) -> None:
        path = write_package(tmp_path / "p")
        (tmp_path / "backup").hardlink_to(path)

        update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert (tmp_path / "backup").read_bytes() == package_bytes()


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

    @pytest.mark.parametrize(
        ("parent", "signature", "outcome"),
        [
            ("0.9.0", SIGNATURE, Outcome.PASSED),
            ("0.9.0", OTHER_SIGNATURE, Outcome.PASSED),
            ("1.0.0-rc.1", SIGNATURE, Outcome.PASSED),
            ("1.0.0-rc.1", OTHER_SIGNATURE, Outcome.WARNED),
            ("1.0.0", SIGNATURE, Outcome.WARNED),
            ("2.0.0", SIGNATURE, Outcome.WARNED),
        ],
    )
    def test_a_version_is_held_against_its_parents(
        self, parent: str, signature: Signature, outcome: Outcome, tmp_path: Path
    ) -> None:
        line = Parent(digest=DIGEST, version=parent, signature=signature)

        assert self.outcomes(tmp_path, parent=line)["version.parent"] is outcome


class TestCompare:
    def test_a_package_and_itself_are_identical(self, tmp_path: Path) -> None:
        path, tree = write_package(tmp_path / "p"), write_directory(tmp_path / "tree")

        comparison = compare_versions(files_host(tmp_path), path, tree)

        assert comparison.is_identical
        assert comparison.order == "same"
        assert [*comparison.signature, *comparison.layers, *comparison.configs, *comparison.metadata] == []

    def test_every_kind_of_change_is_shown_once(self, tmp_path: Path) -> None:
        old = write_package(tmp_path / "old", license="MIT")
        payloads = entries(1) | {"assets/NEW.md": b"new"}
        payloads |= {"weights/layer1.weights": payloads["weights/layer0.weights"]}
        del payloads["config/optimization.json"]
        new = write_package(tmp_path / "new", payloads, version="1.1.0", license="BSD", signature=OTHER_SIGNATURE)

        comparison = compare_versions(files_host(tmp_path), old, new)

        assert comparison.order == "newer"
        assert not comparison.is_identical
        assert [change.path for change in comparison.signature] == ["inputs.x", "outputs.z", "labels"]
        assert comparison.signature[0].before == "float32[batch, 4]"
        assert comparison.signature[0].after == "float32[batch, 5]"
        assert comparison.signature[1].before is None
        assert [change.path for change in comparison.layers] == ["layer0", "layer1"]
        assert comparison.layers[1].before is None
        assert {c.path for c in comparison.configs} == {
            "architecture.json",
            "assets/NEW.md",
            "config/optimization.json",
        }
        assert [(c.path, c.before, c.after) for c in comparison.metadata] == [("license", "MIT", "BSD")]
        assert comparison.after.weights_bytes == 2 * comparison.before.weights_bytes

    def test_build_metadata_does_not_change_the_order_and_older_is_older(self, tmp_path: Path) -> None:
        host = files_host(tmp_path)
        a, b, c = (write_package(tmp_path / v, version=v) for v in ("1.0.0", "1.0.0+b", "0.9.0"))

        assert compare_versions(host, a, b).order == "same"
        assert compare_versions(host, a, c).order == "older"
