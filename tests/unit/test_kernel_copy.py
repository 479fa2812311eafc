"""Copying inside the kernel, on one file system and across two."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hyperion.errors import MalformedPackageError
from hyperion.format.kernel_copy import copy_start

OTHER_FILE_SYSTEM = Path("/dev/shm")  # noqa: S108 - the one place that is on another file system everywhere


@pytest.mark.parametrize("across", [False, True])
def test_exactly_the_start_is_copied(across: bool, tmp_path: Path) -> None:
    if across and not OTHER_FILE_SYSTEM.is_dir():
        pytest.skip("no second file system")
    data = bytes(range(256)) * 10_000
    (tmp_path / "source").write_bytes(data)

    with (
        (tmp_path / "source").open("rb") as source,
        tempfile.TemporaryFile(dir=OTHER_FILE_SYSTEM if across else tmp_path) as target,
    ):
        copy_start(source.fileno(), target.fileno(), len(data) - 100, "source")
        target.seek(0)
        assert target.read() == data[:-100]


def test_a_source_that_became_shorter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"short")

    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        with pytest.raises(MalformedPackageError) as refused:
            copy_start(source.fileno(), target.fileno(), 100, "source")

    assert refused.value.code == "package.truncated"


def test_other_faults_of_the_system_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")

    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        with pytest.raises(OSError, match="Bad file descriptor"):
            copy_start(target.fileno(), source.fileno(), 4, "source")
