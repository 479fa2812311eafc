"""A comparison as a release note: the page is kept in tests/golden, and nothing that a package says escapes."""

from __future__ import annotations

import os
from pathlib import Path

from hyperion.cli.markdown_comparison import comparison_markdown
from hyperion.domain.answers import AnswerComparison, ClassAnswers, ClassChange, OutputAnswers
from hyperion.domain.caller import StepReason
from hyperion.domain.comparison import Change, ComparedPackage, LayerComparison, LayerSide, VersionComparison
from hyperion.domain.difference import SAME, Difference, StoredForm, WeightDifference
from hyperion.domain.migration import MigrationPoint
from hyperion.domain.step import StepVerdict
from hyperion.domain.swap import SwapVerdict
from hyperion.domain.version import Step

GOLDEN = Path(__file__).parents[1] / "golden" / "comparison.md"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
FLOAT = StoredForm(scheme="none", dtype="F32", bits=32, shape=(256, 10))
INT8 = StoredForm(scheme="int8", dtype="I8", bits=8, shape=(256, 10))
REASON = StepReason(step=Step.MAJOR, field="inputs.x", text="renamed x → pixels|<b>")
EVIL = "\x1b[2J|`<script>"


def side(version: str, digest: str) -> ComparedPackage:
    return ComparedPackage(
        source="m.hyperion", name="digits", version=version, digest=digest, total_bytes=2048, weights_bytes=1024
    )


def comparison() -> VersionComparison:
    figures = Difference(max_abs=0.25, mean_abs=0.01, sqnr_db=37.25)
    weights = (
        WeightDifference(name="fc.weight", before=FLOAT, after=INT8, difference=figures),
        WeightDifference(name=EVIL, before=None, after=FLOAT, difference=Difference(unavailable="only B has it")),
    )
    old, new = (LayerSide(digest=d, size_bytes=9, form=form) for d, form in ((A, FLOAT), (B, INT8)))
    return VersionComparison(
        before=side("1.0.0", A),
        after=side("1.1.0", B),
        order="newer",
        is_identical=False,
        step=StepVerdict(
            before="1.0.0", after="1.1.0", required=Step.MAJOR, taken=Step.MINOR, honest=False, reasons=(REASON,)
        ),
        signature=(Change(path="labels", before=["a", EVIL], after=None),),
        processing=(),
        layers=(
            LayerComparison(name="fc", before=old, after=new, changed=True, difference=figures, weights=weights),
            LayerComparison(name="conv", before=old, after=old, changed=False, difference=SAME, weights=()),
        ),
        configs=(Change(path="assets/README.md", before=A, after=B),),
        metadata=(Change(path="license", before="MIT", after=EVIL),),
        answers=AnswerComparison(
            dataset="test_data",
            rows=1000,
            refused_before=0,
            refused_after=2,
            classes=ClassAnswers(
                changed_rows=24, changed_share=0.024, changes=(ClassChange(before="4", after="9", rows=24),),
                accuracy_before=0.973, accuracy_after=0.99, mended_rows=19, broken_rows=2,
            ),
            outputs=(OutputAnswers(name="p", max_abs=0.5, mean_abs=0.01, cosine=0.98),),
        ),
        plan=(
            MigrationPoint(point="Review breaking changes in release notes", found="1 found", todo="tell", command="a"),
            MigrationPoint(point="Plan rollback strategy", found="backed up", todo=None, command=None),
            MigrationPoint(point="Test with new version before deployment", found=EVIL, todo="run", command=EVIL),
        ),
        safe_to_swap=SwapVerdict(safe=False, because=f"callers must change: {REASON}"),
    )  # fmt: skip


def test_the_page_is_the_one_that_is_kept() -> None:
    page = comparison_markdown(comparison(), tensors=True)

    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(page, encoding="utf-8")
    assert page == GOLDEN.read_text(encoding="utf-8")


def test_nothing_that_a_package_says_is_acted_upon() -> None:
    page = comparison_markdown(comparison(), tensors=True)

    assert "\x1b" not in page
    assert "<script>" not in page
    assert "<b>" not in page


def test_every_row_of_a_table_has_as_many_cells_as_its_heading() -> None:
    lines = comparison_markdown(comparison(), tensors=True).splitlines()

    widths: list[int] = []
    for line, before in zip(lines, ["", *lines], strict=False):
        if line.startswith("|"):
            cells = line.replace("\\|", "").count("|")
            assert not before.startswith("|") or cells == widths[-1]
            widths.append(cells)
    assert len(widths) > 15


def test_without_the_tensors_only_layers_are_listed() -> None:
    page = comparison_markdown(comparison())

    assert "fc.weight" not in page
    assert "| fc |" in page
