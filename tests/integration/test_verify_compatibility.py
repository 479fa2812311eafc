"""``verify compatibility`` and ``platform probe`` with the facts of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.checks_host import checks_host, packaged

from hyperion.domain.finding import Outcome
from hyperion.domain.platform import PlatformProfile
from hyperion.errors import ConfigError, ConflictError
from hyperion.ports import Host
from hyperion.usecases.probe import probe_platform
from hyperion.usecases.verify import verify_compatibility


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


class TestCompatibility:
    def test_this_machines_own_profile_is_compatible(self, host: Host, package: Path, tmp_path: Path) -> None:
        probe_platform(host, tmp_path / "target_platform")

        report = verify_compatibility(host, package, str(tmp_path / "target_platform"))

        assert report.ok
        assert {found.outcome for found in report.findings} == {Outcome.PASSED}

    def test_a_platform_name_is_enough_for_a_first_answer(self, host: Host, package: Path) -> None:
        assert verify_compatibility(host, package, "linux/arm64").ok
        assert not verify_compatibility(host, package, "windows/amd64").ok

    def test_a_target_without_the_operators_fails(self, host: Host, package: Path, tmp_path: Path) -> None:
        profile = PlatformProfile(os="linux", architecture="amd64", operators=("ai.onnx::Relu",))
        (tmp_path / "target").write_text(profile.model_dump_json())

        report = verify_compatibility(host, package, str(tmp_path / "target"))

        outcomes = {finding.check: finding.outcome for finding in report.findings}
        assert outcomes["compatibility.operators"] is Outcome.FAILED

    def test_what_is_neither_a_name_nor_a_file_is_refused(self, host: Host, package: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            verify_compatibility(host, package, "target_platform")
        assert caught.value.code == "platform.unknown"

    def test_a_file_that_is_no_profile_says_what_is_wrong_with_it(
        self, host: Host, package: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "target").write_text('{"os": "linux", "architecture": 5, "cpu": 1}')

        with pytest.raises(ConfigError) as caught:
            verify_compatibility(host, package, str(tmp_path / "target"))

        assert {problem.path for problem in caught.value.problems} == {"architecture", "cpu"}

    def test_a_broken_package_is_a_failed_finding(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "x.hyperion").write_bytes(b"nothing")

        assert not verify_compatibility(host, tmp_path / "x.hyperion", "linux/amd64").ok


class TestProbe:
    def test_a_profile_replaces_an_older_one(self, host: Host, tmp_path: Path) -> None:
        probe_platform(host, tmp_path / "p.json")
        profile = probe_platform(host, tmp_path / "p.json")

        assert PlatformProfile.model_validate_json((tmp_path / "p.json").read_bytes()) == profile

    def test_a_file_that_is_no_profile_is_not_touched(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")

        with pytest.raises(ConflictError):
            probe_platform(host, tmp_path / "thesis.txt")

        assert (tmp_path / "thesis.txt").read_text() == "years of work"
