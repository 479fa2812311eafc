"""Integrity: findings that say what is wrong and where, and errors only where nothing can be said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.hostile.corpus import patched, records_of
from tests.packages import entries, package_bytes, write_directory, write_package
from tests.partial_host import files_host

from hyperion.domain.finding import Outcome
from hyperion.errors import NotFoundError
from hyperion.format.chunk_tree import CHUNKED_ABOVE_BYTES
from hyperion.verification.integrity import check_integrity


@pytest.mark.parametrize("write", [write_package, write_directory])
def test_a_sound_package_passes_all_three_checks(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    findings = check_integrity(files_host(tmp_path), write(tmp_path / "p"), CollectingReporter())

    assert [(finding.check, finding.outcome) for finding in findings] == [
        ("integrity.structure", Outcome.PASSED),
        ("integrity.digests", Outcome.PASSED),
        ("integrity.contents", Outcome.PASSED),
    ]


@pytest.mark.parametrize(("threads", "claim"), [(1, "its digest ("), (2, "its digest or those of its chunks (")])
def test_it_claims_no_more_than_was_proven(threads: int, claim: str, tmp_path: Path) -> None:
    path = write_package(tmp_path / "p", entries() | {"assets/big": bytes(CHUNKED_ABOVE_BYTES + 1)})

    _, digests, _ = check_integrity(files_host(tmp_path), path, CollectingReporter(), threads=threads)

    assert digests.summary.startswith(f"every entry has {claim}")


def test_every_damaged_entry_is_named_with_both_digests(tmp_path: Path) -> None:
    data = package_bytes()
    for name in ("architecture.json", "weights/layer0.weights"):
        position = records_of(package_bytes())[name].payload_offset
        data = patched(data, position, bytes([data[position] ^ 1]))
    (tmp_path / "p").write_bytes(data)

    findings = check_integrity(files_host(tmp_path), tmp_path / "p", CollectingReporter())

    failed = [finding for finding in findings if finding.outcome is Outcome.FAILED]
    assert [finding.entry for finding in failed] == ["architecture.json", "weights/layer0.weights"]
    assert all(str(finding.measured).startswith("sha256:") for finding in failed)
    assert all(finding.measured != finding.limit and finding.hint for finding in failed)


def test_contents_that_are_not_what_they_should_be_are_named(tmp_path: Path) -> None:
    payloads = entries() | {"config/optimization.json": b"{", "assets/x": b"ok"}

    findings = check_integrity(files_host(tmp_path), write_package(tmp_path / "p", payloads), CollectingReporter())

    assert [(finding.check, finding.outcome, finding.entry) for finding in findings[2:]] == [
        ("integrity.contents", Outcome.FAILED, "config/optimization.json")
    ]


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        check_integrity(files_host(tmp_path), tmp_path / "none", CollectingReporter())
