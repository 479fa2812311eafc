"""AtomicFiles.staging with ``keep_as``: the new folder takes the name, the old one keeps its bytes under another."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.errors import ConflictError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / "file").write_text("old")
    return folder


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_old_and_new_swap_names(old: Path) -> None:
    kept = old.with_name("backup@r1")

    with AtomicFiles().staging(old, keep_as=kept) as staged:
        (staged / "file").write_text("new")
        assert tree(old) == {"file": "old"}

    assert tree(old.parent) == {"backup/file": "new", "backup@r1/file": "old"}


def test_with_nothing_to_keep_the_folder_is_just_made(tmp_path: Path) -> None:
    with AtomicFiles().staging(tmp_path / "backup", keep_as=tmp_path / "kept") as staged:
        (staged / "file").write_text("new")

    assert tree(tmp_path) == {"backup/file": "new"}


def test_a_taken_name_is_a_conflict_and_nothing_changes(old: Path) -> None:
    kept = old.with_name("backup@r1")
    kept.mkdir()
    (kept / "file").write_text("older")

    with pytest.raises(ConflictError), AtomicFiles().staging(old, keep_as=kept):
        pytest.fail("must not begin")

    assert tree(old.parent) == {"backup/file": "old", "backup@r1/file": "older"}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_on_the_way_leaves_all_as_it_was(old: Path, failure: type[BaseException]) -> None:
    def fill_half() -> None:
        with AtomicFiles().staging(old, keep_as=old.with_name("backup@r1")) as staged:
            (staged / "file").write_text("half")
            raise failure

    with pytest.raises(failure):
        fill_half()

    assert tree(old.parent) == {"backup/file": "old"}
