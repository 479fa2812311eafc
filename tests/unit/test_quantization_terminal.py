"""How quantizing looks on terminals of two widths, and in a pipe."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from hyperion.cli.render import make_console
from hyperion.cli.render_package import show_summary
from hyperion.cli.render_quantization import describe_scheme, show_layers, show_quantization
from hyperion.domain.loss import GENERATED, ClassLoss, LossBudget, MeasuredLoss, SetSizes, TriedForm, WeightEffect
from hyperion.domain.scheme import KeptTensor, LayerScheme, Measurements, QuantizationRecord, StoredWeight
from hyperion.usecases.package import PackageSummary
from hyperion.usecases.quantize import QuantizationReport

DIGEST = f"sha256:{'ab' * 32}"
BUDGET = LossBudget(metric="accuracy", max_loss=0.005, max_class_loss=0.1)


def weight(name: str, **changes: object) -> StoredWeight:
    plain = StoredWeight(
        tensor=name, scheme="w4", bits=4, bytes_before=40_000, bytes_after=6400, sqnr_db=22.4, cosine=0.997
    )
    return plain.model_copy(update=changes)


LAYERS = (
    LayerScheme(
        index=0, name="encoder.layer.0", scheme="w4", bits=4, bytes_before=80_000, bytes_after=12_800,
        weights=(weight("encoder.layer.0.query"), weight("encoder.layer.0.key", sqnr_db=19.1)),
    ),
    LayerScheme(
        index=1, name="head\x1b[31m", scheme="static-int8", bits=8, bytes_before=50_000, bytes_after=20_000,
        weights=tuple(weight(f"head.{n}", scheme="static-int8", bits=8, reason="w4 costs too much here") for n in "ab"),
        kept=(KeptTensor(tensor="head.bias", reason="breaks the budget"),),
    ),
)  # fmt: skip

LOSS = MeasuredLoss(
    metric="accuracy", rows=450, before=0.9711, after=0.9667, loss=0.0044, low=-0.0067, high=0.0156,
    method="Newcombe's hybrid score interval for paired rows", output="scores",
    classes=(
        ClassLoss(
            name="eight", support=43, recall_before=0.9070, recall_after=0.8605, precision_before=0.95,
            precision_after=0.9737, f1_before=0.928, f1_after=0.9136,
        ),
        ClassLoss(
            name="nine", support=45, recall_before=1.0, recall_after=1.0, precision_before=1.0, precision_after=1.0,
            f1_before=1.0, f1_after=1.0,
        ),
    ),
)  # fmt: skip

FOUND = Measurements(
    sets=SetSizes(source="test_data", calibration=200, search=400, report=450, labelled=True),
    loss=LOSS,
    effects=(WeightEffect(tensor="encoder.layer.0.key", sqnr_db=31.2, cosine=0.9996),),
    trials=(
        TriedForm(what="w4 everywhere", weights_bytes=16_000, rows=400, loss=0.02, error=0.1, latency_ms=0.2,
                  holds=False),
        TriedForm(what="w4 in head.a alone", weights_bytes=99_000, rows=128, error=0.05, latency_ms=0.2),
        TriedForm(what="w4 ×2, static-int8 ×2", weights_bytes=32_800, rows=400, loss=0.004, error=0.03,
                  latency_ms=0.3, holds=True),
    ),
)  # fmt: skip


def summary() -> PackageSummary:
    return PackageSummary(
        path="m.hyperion", name="digits", version="1.0.0", digest=DIGEST, size_bytes=60_000, requested="auto",
        scheme="w4", reason=None, layers=LAYERS, bytes_before=130_000, bytes_after=32_800, agreement=None,
        agreement_unavailable=None, shortfall=None, alone={"head.bias": 0.678}, budget=BUDGET, measurements=FOUND,
        warnings=(), duration_s=1.2,
    )  # fmt: skip


def report() -> QuantizationReport:
    record = QuantizationRecord(
        requested="auto", scheme="w4", budget=BUDGET, bytes_before=130_000, bytes_after=32_800, layers=LAYERS
    )
    return QuantizationReport(
        path="m.hyperion", digest=DIGEST, name="digits", version="1.0.0", quantization=record, measurements=FOUND,
        sample="256 rows, a part of the report set",
    )  # fmt: skip


def shown(width: int | None) -> str:
    page = StringIO()
    console = make_console(page) if width is None else Console(file=page, width=width, force_terminal=True)
    console.no_color = True
    show_summary(console, summary())
    return page.getvalue()


@pytest.mark.parametrize("width", [80, 120, None])
def test_the_summary_says_what_became_of_every_weight_and_what_it_costs(width: int | None) -> None:
    text = " ".join(shown(width).split())

    for words in (
        "19.1", "31.2", "2 weights of head", "are static-int8: w4 costs too much here",
        "head.bias stayed as it was: breaks the budget: quantizing it alone changes the output by 67.8%",
        "0.9711 → 0.9667 on 450 rows of the report set of test_data", "0.0044 (95 % interval -0.0067 to 0.0156",
        "0.005 of accuracy, 0.1 of any class's recall: kept", "0.9070 → 0.8605", "and 1 trial of layers alone",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("width", [80, 120])
def test_no_table_is_wider_than_the_terminal(width: int) -> None:
    drawn = [line for line in shown(width).splitlines() if "─" in line]

    assert drawn
    assert all(len(line.replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip()) <= width for line in drawn)


def drawn(**changes: object) -> str:
    page = StringIO()
    show_summary(make_console(page), summary().model_copy(update=changes))
    return page.getvalue()


GENERATED_ROWS = FOUND.model_copy(
    update={"sets": SetSizes(source=GENERATED, calibration=0, search=128, report=128, labelled=False)}
)


def test_data_in_the_package_is_told_and_that_there_is_none() -> None:
    assert "256 rows of your data are in the package (assets/budget/)" in drawn(sample_rows=256)
    assert "no row of your data is in the package: the budget cannot be checked on the host" in drawn()
    assert "your data" not in drawn(budget=None)


def test_generated_rows_in_the_package_are_not_called_somebodys_data() -> None:
    assert "128 rows of golden requests and generated inputs are in" in drawn(
        sample_rows=128, measurements=GENERATED_ROWS
    )


def test_without_a_dataset_the_summary_says_that_one_allows_more() -> None:
    assert "with --dataset DIR: data allow w4 and static-int8" in drawn(requested="auto", measurements=GENERATED_ROWS)
    assert "--dataset" not in drawn(requested="auto")
    assert "--dataset" not in drawn(requested="int8", measurements=GENERATED_ROWS)


def test_bytes_of_trials_say_what_they_count() -> None:
    assert "bytes: of the weights that can be quantized" in drawn()


def test_generated_sets_are_said_to_be_generated() -> None:
    page = StringIO()
    show_quantization(make_console(page), report().model_copy(update={"measurements": GENERATED_ROWS}))

    assert "128 rows of golden requests and generated inputs, no dataset" in page.getvalue()
    assert "128 report" not in page.getvalue()


def test_schemes_beside_the_one_of_most_bytes_are_named() -> None:
    assert "scheme w4 and static-int8" in " ".join(shown(None).split())
    assert describe_scheme("none", ()) == "none"


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("conv2", ["conv1.weight", "conv2.weight"], "conv2 (+ conv1.weight)"),
        ("conv3", ["conv1.weight", "conv2.weight", "conv3.weight"], "conv3 (+ conv1.weight and 1 more)"),
        ("layer.0", ["layer.0.query", "layer.0.key"], "layer.0 (2 weights)"),
        ("block", ["onnx::MatMul_1", "onnx::MatMul_2"], "block (2 weights)"),
        ("fc1", ["fc1.weight"], "fc1"),
    ],
)
def test_a_layer_that_holds_more_than_its_own_weight_says_so(name: str, weights: list[str], words: str) -> None:
    layer = LAYERS[0].model_copy(update={"name": name, "weights": tuple(map(weight, weights))})
    page = StringIO()

    show_layers(make_console(page), [layer], Measurements())

    assert page.getvalue().splitlines()[1].rstrip().endswith(f"  {words}")


def test_a_model_without_weights_has_no_table_of_layers() -> None:
    page = StringIO()
    show_summary(make_console(page), summary().model_copy(update={"layers": ()}))

    assert "weight dB" not in page.getvalue()


def test_control_characters_of_names_are_shown_and_not_sent() -> None:
    assert "\x1b[31m" not in shown(None)


def test_the_report_shows_every_weight_class_and_trial() -> None:
    page = StringIO()
    show_quantization(make_console(page), report())
    text = " ".join(page.getvalue().split())

    for words in (
        "encoder.layer.0.query", "head.b is static-int8: w4 costs too much here", "nine", "w4 in head.a alone",
        "200 calibration, 400 search, 450 report rows", "256 rows, a part of the report set",
    ):  # fmt: skip
        assert words in text
