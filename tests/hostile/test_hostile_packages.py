"""Every bad package is refused by its own code, by every door, and leaves nothing behind."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.errors import PackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.block_pump import BlockPump
from tests.hostile.corpus import BadPackage, corpus
from tests.hostile.damage import payload_positions, refuses
from tests.hostile.doors import read_wholly, refusals, tree
from tests.packages import package_bytes, write_package

CORPUS = list(corpus())


def test_the_corpus_is_large_and_its_control_is_accepted_by_every_door(tmp_path: Path) -> None:
    path = write_package(tmp_path / "good.hyperion")

    assert refusals(path, tmp_path / "home", tmp_path / "out") == {"integrity": None, "extract": None, "admit": None}
    assert len(CORPUS) >= 400
    assert len({bad.name for bad in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("bad", [bad for bad in CORPUS if bad.is_small], ids=lambda bad: bad.name)
def test_the_error_of_a_bad_package_says_in_one_line_what_is_wrong_with_which_entry(
    bad: BadPackage, tmp_path: Path
) -> None:
    path = tmp_path / "bad.hyperion"
    path.write_bytes(bad.make())

    with pytest.raises(PackageError) as refused, LocalPackages().open(path) as package, BlockPump() as pump:
        read_wholly(package, pump)

    error = refused.value
    assert error.code == bad.code
    assert error.message.isprintable()
    assert len(error.message) < 1500
    assert bad.entry is None or repr(bad.entry)[1:-1] in error.message


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_package_comes_in_by_no_door_and_leaves_no_trace(bad: BadPackage, tmp_path: Path) -> None:
    path, home = tmp_path / "box" / "bad.hyperion", tmp_path / "home"
    path.parent.mkdir()
    path.write_bytes(bad.make())
    before = tree(path.parent)

    found = refusals(path, home, path.parent / "out")

    assert found == dict.fromkeys(("integrity", "extract", "admit"), (bad.code, bad.entry))
    assert tree(path.parent) == before
    assert set(tree(tmp_path)) - {f"box/{name}" for name in before} <= {
        "box", "home", "home/blobs", "home/blobs/sha256", "home/tmp", "home/tmp/store.lock",
    }  # fmt: skip


def test_sampled_bit_flips_and_truncations_are_refused() -> None:
    good = package_bytes()
    dice = random.Random(20260102)

    with BlockPump() as pump:
        for position in dice.sample(range(len(good)), 1500):
            flipped = bytearray(good)
            flipped[position] ^= 1 << dice.randrange(8)
            assert refuses(bytes(flipped), pump), f"bit flip at byte {position}"
        for length in [*dice.sample(range(len(good)), 500), *range(len(good) - 150, len(good))]:
            assert refuses(good[:length], pump), f"truncated to {length} bytes"


def test_every_changed_payload_bit_is_caught_by_the_digest() -> None:
    good = package_bytes()
    with BlockPump() as pump:
        for position in list(payload_positions(good))[::7]:
            flipped = bytearray(good)
            flipped[position] ^= 1 << (position % 8)
            with ArchiveReader(io.BytesIO(bytes(flipped)), "p", Path("/nowhere")) as package:
                with pytest.raises(PackageError) as refused:
                    read_wholly(package, pump)
            assert refused.value.code == "package.digest_mismatch"
