"""The samples of format version 1: whatever changes, these very bytes open, verify and answer as they did in 2026."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import numpy as np
from tests.fakes.reporter import CollectingReporter
from tests.packaging import load, pack, packaging_host

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.finding import Outcome
from hyperion.format.verified import check_content
from hyperion.usecases.extract import extract_model
from hyperion.usecases.key_file import load_public_key
from hyperion.verification.golden import compare, load_golden_requests
from hyperion.verification.integrity import check_integrity
from hyperion.verification.signing import check_signing

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
SAMPLE = GOLDEN / "format-1.hyperion"
DIGEST = "sha256:a6bf2bfa552cc4aa31d1792b898f40715340009f7e947f775a80b09ffb0acbdd"
FILE_SHA256 = "e234a8aa2e2fe7bd27185ffe170fbca242733860580501d895211c2d70a4ce7c"
CHUNKED_DIGEST = "sha256:04c62fbe2ce2cb7c2fe42ffbd1e4f48194170643613b445f1694bd6903fcc56a"


def test_the_sample_is_the_one_that_was_made_once() -> None:
    assert hashlib.sha256(SAMPLE.read_bytes()).hexdigest() == FILE_SHA256
    with LocalPackages().open(SAMPLE) as package:
        assert (package.digest, package.manifest.format_version) == (DIGEST, 1)


def test_every_byte_of_it_is_proven(tmp_path: Path) -> None:
    findings = check_integrity(packaging_host(tmp_path), SAMPLE, CollectingReporter())

    assert {finding.outcome for finding in findings} == {Outcome.PASSED}


def test_it_answers_its_golden_request() -> None:
    with LocalPackages().open(SAMPLE) as package:
        (golden,) = load_golden_requests(package)

        answers = load(SAMPLE).run(golden.inputs)

    assert compare(golden, answers).fault is None
    assert np.isfinite(answers["probabilities"]).all()


def test_its_signing_is_trusted() -> None:
    with LocalPackages().open(SAMPLE) as package:
        findings = check_signing(package, [load_public_key(GOLDEN / "format-1.pub")])

    assert [finding.outcome for finding in findings] == [Outcome.PASSED] * len(findings)
    assert findings[-1].check == "signing.trusted"


def test_extracted_and_packed_again_it_is_the_same_file(tmp_path: Path) -> None:
    extract_model(packaging_host(tmp_path), SAMPLE, tmp_path / "tree", CollectingReporter())

    pack(tmp_path / "tree", tmp_path / "again.hyperion")

    assert (tmp_path / "again.hyperion").read_bytes() == SAMPLE.read_bytes()


def test_the_sample_with_chunk_digests_is_proven(tmp_path: Path) -> None:
    path = tmp_path / "chunks.hyperion"
    path.write_bytes(gzip.decompress((GOLDEN / "format-1-chunks.hyperion.gz").read_bytes()))

    with LocalPackages().open(path) as package:
        for name in package.names():
            package.read(name)
            check_content(package, name)
        assert package.digest == CHUNKED_DIGEST


def test_the_worked_example_shows_the_sample() -> None:
    page = (ROOT / "docs" / "reference" / "format.md").read_text(encoding="utf-8")
    block = re.search(r"```hex\n(.*?)```", page, re.DOTALL)
    assert block is not None
    lines = re.findall(r"^([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+)", block[1], re.MULTILINE)
    data = SAMPLE.read_bytes()

    for offset, shown in lines:
        expected = bytes.fromhex(shown)
        assert data[int(offset, 16) :][: len(expected)] == expected, offset
    assert len(lines) > 30
    assert DIGEST in page
