"""Every bad package is refused by its own code, by every door, and leaves nothing behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hyperion.adapters.atomic_file import AtomicFiles
from hyperion.adapters.local_store import LocalPackageStore
from hyperion.adapters.package_files import LocalPackages
from hyperion.domain.finding import Outcome
from hyperion.errors import PackageError
from hyperion.format.block_pump import BlockPump
from hyperion.format.verified import check_content, pump_entry
from hyperion.usecases.extract import extract_model
from hyperion.verification.integrity import check_integrity
from tests.fakes.reporter import CollectingReporter
from tests.hostile.corpus import BadPackage, corpus
from tests.packages import package_bytes
from tests.partial_host import files_host

CORPUS = list(corpus())


def refusal(path: Path) -> PackageError | None:
    """The error that a full reading of the package raises, or None."""
    try:
        with LocalPackages().open(path) as package, BlockPump() as pump:
            for name in package.names():
                pump_entry(package, name, pump)
            for name in package.names():
                check_content(package, name)
    except PackageError as error:
        return error
    return None


def test_the_corpus_is_large_and_its_control_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "good.hyperion"
    path.write_bytes(package_bytes())

    assert refusal(path) is None
    assert len(CORPUS) >= 150
    assert len({bad.name for bad in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_package_is_refused_by_its_code(bad: BadPackage, tmp_path: Path) -> None:
    path = tmp_path / "bad.hyperion"
    path.write_bytes(bad.data)

    error = refusal(path)

    assert error is not None
    assert error.code == bad.code
    assert error.message.isprintable()


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_package_fails_integrity_and_leaves_no_trace_by_extracting_or_admitting(
    bad: BadPackage, tmp_path: Path
) -> None:
    path = tmp_path / "bad.hyperion"
    path.write_bytes(bad.data)
    host, reporter = files_host(tmp_path), CollectingReporter()
    store = LocalPackageStore(tmp_path / "home", AtomicFiles())

    findings = check_integrity(host, path, reporter)
    with pytest.raises(PackageError):
        extract_model(host, path, tmp_path / "out", reporter)
    with pytest.raises(PackageError), host.packages.open(path) as package:
        store.admit(package)

    assert any(finding.outcome is Outcome.FAILED for finding in findings)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"bad.hyperion", "home/tmp/store.lock"}


def test_every_sampled_bit_flip_and_truncation_is_refused(tmp_path: Path) -> None:
    good = package_bytes()
    dice = random.Random(20260102)
    path = tmp_path / "damaged.hyperion"

    for position in dice.sample(range(len(good)), 600):
        flipped = bytes([good[position] ^ (1 << dice.randrange(8))])
        path.write_bytes(good[:position] + flipped + good[position + 1 :])
        assert refusal(path) is not None, f"bit flip at byte {position}"
    for length in [*dice.sample(range(len(good)), 200), *range(len(good) - 150, len(good))]:
        path.write_bytes(good[:length])
        assert refusal(path) is not None, f"truncated to {length} bytes"
