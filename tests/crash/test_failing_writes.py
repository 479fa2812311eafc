"""Every write and every fsync of packing, updating and extracting fails once; and disks that are really full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hyperion.domain.version import Step
from hyperion.errors import HostError
from hyperion.usecases.version import update_version
from tests.crash.failures import failures
from tests.crash.scenario import Scenario
from tests.crash.scenarios import all_scenarios
from tests.packages import write_package
from tests.partial_host import files_host
from tests.small_disk import small_disk


@pytest.mark.parametrize("scenario", [scenario for scenario, _ in all_scenarios()], ids=lambda scenario: scenario.name)
def test_after_a_failure_there_is_the_old_or_the_new_and_nothing_beside_it(scenario: Scenario, tmp_path: Path) -> None:
    assert list(failures(scenario, tmp_path))


def test_a_disk_that_fails_halfway_is_told_from_one_that_fails_before(tmp_path: Path) -> None:
    update = next(scenario for scenario, _ in all_scenarios() if scenario.name == "update with a longer manifest")

    told = [state.split(": ", 1) for state in failures(update, tmp_path)]

    before = {state for _, state in told if state.startswith("old")}
    halfway = {state for _, state in told if "host.update_interrupted" in state}
    assert before == {"old (host.no_space)", "old (host.file_too_large)", "old (host.io)"}
    assert halfway == {"recovered: finished (host.update_interrupted)", "new (host.update_interrupted)"}
    assert {state for _, state in told} == before | halfway


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file may be written beyond this size (ulimit -f)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("more_bytes", [0, 1, 511, 4096])
def test_an_update_beyond_the_largest_file_leaves_the_old_package(more_bytes: int, tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    old = path.read_bytes()

    with largest_file(len(old) + more_bytes), pytest.raises(HostError) as refused:
        update_version(files_host(tmp_path), path, Step.MINOR, "why " * 2000)

    assert refused.value.code == "host.file_too_large"
    assert path.read_bytes() == old


@pytest.mark.parametrize("free_bytes", [0, 4096])
def test_an_update_on_a_full_disk_names_what_is_needed_and_leaves_the_old_package(
    free_bytes: int, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", "128k") as small:
        path = write_package(small / "p")
        old = path.read_bytes()
        fill(small / "rest", leaving=free_bytes)

        with pytest.raises(HostError) as refused:
            update_version(files_host(tmp_path), path, Step.MINOR, "why " * 2000)

        assert refused.value.code == "host.no_space"
        assert refused.value.actual == free_bytes
        assert path.read_bytes() == old


def fill(path: Path, *, leaving: int) -> None:
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            stream.truncate(stream.tell() - leaving)
