"""Names that every file system takes, and no others."""

from __future__ import annotations

import pytest

from hyperion.errors import MalformedPackageError
from hyperion.format.names import check_names, in_order, name_fault


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "architecture.json", "weights/layer0.weights", "config/a.json", "assets/golden/a-b_c.JSON",
     "assets/console.txt", "assets/com10", "assets/" + "d/" * 6 + "x", "assets/" + "x" * 248],
)  # fmt: skip
def test_legal_names(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("assets/../x", "component '..'"),
        ("assets/x.", "ends in a dot"),
        ("assets/LPT9.txt", "device name"),
        ("readme.md", "is neither"),
        ("assets", "is neither"),
        ("assets/" + "x" * 249, "longer than 255 bytes"),
        ("assets/" + "d/" * 7 + "x", "more than 8 components"),
        ("assets/\ud800", "component"),
    ],
)
def test_a_fault_is_named(name: str, fault: str) -> None:
    assert fault in (name_fault(name) or "")


def test_a_file_cannot_be_the_folder_of_another_whatever_its_case() -> None:
    with pytest.raises(MalformedPackageError) as refused:
        check_names(["assets/A", "assets/a/b/c"], "p")

    assert refused.value.code == "package.duplicate_entry"


def test_the_manifest_is_last() -> None:
    assert in_order(["weights/a", "manifest.json", "architecture.json"]) == [
        "architecture.json",
        "weights/a",
        "manifest.json",
    ]
