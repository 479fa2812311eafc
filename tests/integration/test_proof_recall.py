"""Who believes the record of proofs, and who reads every byte whatever it says.

The record here claims that every file was proven, so a damaged package tells the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pytest
from tests.fakes.checks_host import checks_host, damaged, packaged
from tests.fakes.clock import START
from tests.fakes.reporter import CollectingReporter

from hyperion.cli.main import run
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import DigestMismatchError
from hyperion.format.file_state import FileState
from hyperion.ports import Host
from hyperion.usecases.deploy import deploy_model
from hyperion.usecases.load import load_model
from hyperion.usecases.verify import verify_integrity, verify_model
from hyperion.verification.integrity import DIGESTS


class CredulousRecord:
    """Implements ports.ProofRecord, except that it knows everything."""

    def recall(self, files: Iterable[tuple[FileState, str]]) -> dict[tuple[FileState, str], datetime]:
        return dict.fromkeys(files, START)

    def remember(self, files: Iterable[tuple[FileState, str]], began_at: datetime) -> None: ...


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path, proofs=CredulousRecord())


@pytest.fixture
def broken(host: Host, tmp_path: Path) -> Path:
    return damaged(packaged(tmp_path, host), tmp_path)


def digests(findings: Iterable[Finding]) -> Finding:
    return next(finding for finding in findings if finding.check == DIGESTS)


def test_verify_model_believes_it_unless_it_is_to_read_all(host: Host, broken: Path) -> None:
    believing = digests(verify_model(host, broken, CollectingReporter()).findings)
    reading = digests(verify_model(host, broken, CollectingReporter(), full=True).findings)

    assert (believing.outcome, reading.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert "proven 2026-01-02 03:04 UTC and unchanged since" in believing.summary


def test_verify_integrity_always_reads_all(host: Host, broken: Path) -> None:
    assert not verify_integrity(host, broken, CollectingReporter()).ok
    assert not verify_integrity(host, broken, CollectingReporter(), quick=True).ok


def test_a_deploy_believes_it_unless_it_is_to_read_all(host: Host, broken: Path) -> None:
    config, reporter = DeploymentConfig(), CollectingReporter()

    believing = deploy_model(host, broken, config, reporter, dry_run=True)
    reading = deploy_model(host, broken, config, reporter, dry_run=True, full=True)

    assert digests(believing.checklist.findings).outcome is Outcome.PASSED
    assert digests(reading.checklist.findings).outcome is Outcome.FAILED
    assert not reading.allowed


def test_loading_believes_it_unless_it_is_to_read_all(host: Host, broken: Path) -> None:
    def load(*, full: bool) -> object:
        return load_model(
            host.packages, host.engine, broken,
            processors=host.processors, proofs=host.proofs, clock=host.clock, full=full,
        )  # fmt: skip

    assert load(full=False)
    with pytest.raises(DigestMismatchError):
        load(full=True)


def test_the_command_line_checks_quickly(host: Host, broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = broken.with_name("model.hyperion")

    statuses = [run(["verify", "integrity", str(path), "--quick", "--json"]) for path in (sound, broken)]

    first, second = (json.loads(line) for line in split_documents(capsys.readouterr().out))
    assert statuses == [0, 1]
    assert [finding["check"] for finding in first["findings"]] == ["integrity.structure", "integrity.crc"]
    assert second["findings"][1]["entry"] == "weights/layer0.weights"


def split_documents(text: str) -> list[str]:
    """The JSON documents that stand one behind the other."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text.rstrip()):
        _, end = decoder.raw_decode(text, position)
        found.append(text[position:end])
        position = end + len(text[end:]) - len(text[end:].lstrip())
    return found


def test_the_command_line_says_why_a_directory_has_no_quick_check_of_its_bytes(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["extract", "model", "--input", str(packaged(tmp_path, host)), "--output", str(tmp_path / "tree")])
    capsys.readouterr()

    status = run(["verify", "integrity", str(tmp_path / "tree"), "--quick", "--json"])

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert status == 0
    assert [(finding["check"], finding["outcome"]) for finding in findings[1:]] == [("integrity.crc", "skipped")]


def test_the_command_line_takes_a_number_of_threads(host: Host, broken: Path) -> None:
    assert run(["verify", "integrity", str(broken), "--threads", "3", "--json"]) == 1
    assert run(["verify", "integrity", str(broken), "--threads", "0"]) == 2
