"""`hyperion run`: what a person has goes in, what the model says comes out."""

from __future__ import annotations

import io
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.reporter import CollectingReporter
from tests.packaging import load, pack, packaging_host
from tests.processing_models import ENTITIES, reader, table_dir, text_dir

from hyperion.cli.main import run
from hyperion.usecases.extract import extract_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages ``texts.hyperion``, ``rows.hyperion``, ``tagger.hyperion`` and the extracted folder ``tree``."""
    folder = tmp_path_factory.mktemp("run")
    tags = {"kind": "tokens", "output": "logits", "labels": list(ENTITIES)}
    pack(text_dir(folder / "texts"), folder / "texts.hyperion", "none")
    pack(table_dir(folder / "rows"), folder / "rows.hyperion", "none")
    tagger = text_dir(folder / "tagger", model=reader(len(ENTITIES), per_token=True), output=tags)
    pack(tagger, folder / "tagger.hyperion", "none")
    extract_model(packaging_host(folder), folder / "texts.hyperion", folder / "tree", CollectingReporter())
    return folder


@pytest.fixture(autouse=True)
def _place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return


class Shell:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(["run", *arguments])
        found = self._capsys.readouterr()
        return code, found.out, found.err

    def predictions(self, *arguments: str, stdin: bytes = b"") -> list[dict[str, Any]]:
        code, out, err = self(*arguments, stdin=stdin)
        assert code == 0, out + err
        found: list[dict[str, Any]] = json.loads(out)["predictions"]
        return found


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


def labels(predictions: list[dict[str, Any]]) -> list[str]:
    return [prediction["label"] for prediction in predictions]


def test_texts_give_a_table_of_labels_and_probabilities(shell: Shell) -> None:
    code, out, _ = shell("texts.hyperion", "--text", "The cat sat", "--text", "Oil rose")

    assert code == 0
    assert out.splitlines()[0].split() == ["row", "label", "probability", "then"]
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["0", "1"]
    assert out.splitlines()[-1] == "texts 1.0.0"


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["--text", "The cat sat", "--text", "Oil rose", "--json"], b""),
        (["--json"], b'["The cat sat", "Oil rose"]'),
        (["--json", "-"], b'[{"text": "The cat sat"}, {"text": "Oil rose"}]'),
        (
            ["--json"],
            b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["The cat sat", "Oil rose"]}]}',
        ),
        (["--json", "--csv"], b"\xef\xbb\xbftext\r\nThe cat sat\r\n\r\nOil rose\r\n"),
        (["--json", "--csv", "-", "--batch", "1"], b'"text"\n"The cat sat"\nOil rose'),
    ],
    ids=["--text", "a list", "objects", "a v2 request", "csv of a spreadsheet", "csv in slices"],
)
def test_the_same_texts_get_the_same_answer_in_every_form(shell: Shell, arguments: list[str], stdin: bytes) -> None:
    found = shell.predictions("texts.hyperion", *arguments, stdin=stdin)

    expected = load(Path("texts.hyperion")).predict(["The cat sat", "Oil rose"])
    assert found == [prediction.model_dump() for prediction in expected]


def test_an_extracted_folder_answers_as_its_package_does(shell: Shell) -> None:
    packaged = shell.predictions("texts.hyperion", "--text", "rain", "--json")

    assert shell.predictions("tree", "--text", "rain", "--json") == packaged


def test_pairs_of_texts(shell: Shell) -> None:
    first = shell.predictions("texts.hyperion", "--text", "rain", "--text-pair", "oil", "--json")

    assert first == shell.predictions("texts.hyperion", "--json", stdin=b'[["rain", "oil"]]')
    assert first == shell.predictions("texts.hyperion", "--json", "--csv", stdin=b"text,text_pair\nrain,oil\n")
    assert first != shell.predictions("texts.hyperion", "--text", "rain", "--json")


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["--json"], b'[{"age": 52.5, "colour": "blue", "income": 1000}, {"age": 20, "colour": "red"}]'),
        (["--json", "--csv"], b"age,colour,income\n52.5,blue,1000\n20,red,\n"),
        (["--json", "--csv"], b"income,id,colour,age\n1000,7,blue,52.5\n,8,red,20\n"),
    ],
    ids=["json", "csv", "another order and a column more"],
)
def test_rows_get_the_same_answer_in_every_form(shell: Shell, arguments: list[str], stdin: bytes) -> None:
    found = shell.predictions("rows.hyperion", *arguments, stdin=stdin)

    tensors = load(Path("rows.hyperion")).run({"row": np.array([[1, 2, 1], [-1.6, 0, 2.5]], np.float32)})
    assert labels(found) == [["no", "yes"][index] for index in tensors["label"]]
    assert [list(row["scores"].values()) for row in found] == tensors["probabilities"].tolist()


def test_columns_that_the_model_does_not_take_are_named(shell: Shell) -> None:
    _, _, err = shell("rows.hyperion", "--csv", stdin=b"age,colour,id\n1,red,7\n")

    assert "warning: passed over, as the model does not take them: id" in err


def test_tensors_give_tensors(shell: Shell, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", **{"input:row": rows, "output:label": rows[:, 0]})
    request = {"inputs": [{"name": "row", "datatype": "FP32", "shape": [70, 3], "data": rows.ravel().tolist()}]}
    expected = load(Path("rows.hyperion")).run({"row": rows})

    for arguments, stdin in ((["--npz", str(tmp_path / "rows.npz"), "--json"], ""), (["--json"], json.dumps(request))):
        code, out, _ = shell("rows.hyperion", *arguments, stdin=stdin.encode())
        assert code == 0
        found = {output["name"]: output for output in json.loads(out)["outputs"]}
        assert found["probabilities"]["data"] == expected["probabilities"].ravel().tolist()
        assert found["label"]["shape"] == [70]


def test_an_npz_file_of_a_dataset_is_taken_as_it_is(shell: Shell, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(4, 3))
    np.savez(tmp_path / "part.npz", row=rows, label=np.array([0, 1, 0, 1]))

    code, out, err = shell("rows.hyperion", "--npz", str(tmp_path / "part.npz"), "--json")

    assert code == 0, err
    expected = load(Path("rows.hyperion")).run({"row": rows.astype(np.float32)})
    found = {output["name"]: output["data"] for output in json.loads(out)["outputs"]}
    assert found["probabilities"] == expected["probabilities"].ravel().tolist()


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"row": np.zeros((2, 4), np.float32)}, "tensor 'row': expected size 3 in dimension 1 of float32[batch, 3]"),
        ({"row": np.zeros((2, 3), np.int64)}, "tensor 'row': expected dtype float32, found int64"),
        ({"row": np.zeros((2, 3), np.float32), "rwo": np.zeros(2)}, "tensor 'rwo': the model has no such input"),
        ({"label": np.zeros(2, np.int64)}, "tensor 'row': is missing: expected float32[batch, 3]"),
        ({"row": np.array([[0, 1e300, 0]])}, "tensor 'row': expected numbers in the range of float32, found 1e+300"),
    ],
    ids=["width", "dtype", "another array", "missing", "overflow"],
)
def test_tensors_that_the_model_does_not_take_are_named_with_their_file(
    shell: Shell, tmp_path: Path, arrays: dict[str, np.ndarray], fault: str
) -> None:
    np.savez(tmp_path / "part.npz", **arrays)  # type: ignore[arg-type]

    code, _, err = shell("rows.hyperion", "--npz", str(tmp_path / "part.npz"))

    assert code == 2
    assert f"{tmp_path / 'part.npz'}: {fault}" in err


def test_a_request_of_another_width_is_wrong_usage(shell: Shell) -> None:
    request = {"inputs": [{"name": "row", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}

    code, out, _ = shell("rows.hyperion", "--json", stdin=json.dumps(request).encode())

    assert code == 2
    assert "standard input: tensor 'row': expected size 3 in dimension 1 of float32[batch, 3], found 2" in out


def test_answers_that_are_no_numbers_are_told(shell: Shell, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", row=np.array([[1, 2, 3], [1, np.nan, 3]], np.float32))

    code, out, err = shell("rows.hyperion", "--npz", str(tmp_path / "rows.npz"), "--json")

    assert code == 0
    assert "output 'probabilities': 2 of 4 values are NaN or infinite; in JSON they are null" in err
    assert json.loads(out)["outputs"][1]["data"][2:] == [None, None]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("--csv", "/dev/zero: line 1: expected at most 16777216 bytes, found more"),
        ("--json", "/dev/zero has 33554433 bytes; at most 33554432"),
        ("--npz", "/dev/zero is no NPZ file"),
    ],
)
def test_a_file_without_end_is_refused_at_once(shell: Shell, kind: str, fault: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_mapped_bytes() + 2**30, limits[1]))
    try:
        code, out, err = shell("rows.hyperion", kind, "/dev/zero")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)

    assert code == 2
    assert fault in out + err


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def test_the_line_without_end_is_named(shell: Shell) -> None:
    code, _, err = shell("rows.hyperion", "--csv", stdin=b"age,colour\n1,red\n" + b"1" * (16 * 2**20 + 1))

    assert code == 2
    assert "standard input: line 3: expected at most 16777216 bytes, found more" in err


def test_spans_and_tensors_have_tables_too(shell: Shell, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", row=np.zeros((1, 3), np.float32))

    code, out, _ = shell("tagger.hyperion", "--text", "Anna flew to Berlin")
    assert (code, out.split()[:5]) == (0, ["row", "label", "probability", "characters", "text"])
    code, out, _ = shell("rows.hyperion", "--npz", str(tmp_path / "rows.npz"))
    assert (code, out.split()[:4]) == (0, ["output", "datatype", "shape", "values"])


def test_a_vector_has_a_table_of_its_first_values(shell: Shell, tmp_path: Path) -> None:
    folder = text_dir(tmp_path / "vectors", output={"kind": "vector", "output": "logits", "normalize": True})
    pack(folder, tmp_path / "vectors.hyperion", "none")

    code, out, _ = shell(str(tmp_path / "vectors.hyperion"), "--text", "rain")

    assert (code, out.split()[:2]) == (0, ["row", "values"])
    assert len(out.splitlines()[1].split(", ")) == 3


def test_a_table_ends_after_a_thousand_rows_and_says_so(shell: Shell) -> None:
    csv = b"age,colour\n" + b"40,red\n" * 1005

    _, out, _ = shell("rows.hyperion", "--csv", stdin=csv)

    assert len(out.splitlines()) == 1003
    assert "… and 5 rows more: --json prints all" in out


def test_texts_that_were_cut_are_told(shell: Shell) -> None:
    _, out, err = shell("texts.hyperion", "--text", "cat " * 50, "--text", "cat", "--json")

    assert json.loads(out)["cut"] == [0]
    assert "were cut: 1, in rows 0" in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "fault"),
    [
        (["texts.hyperion"], b"", 2, "what to run it on"),
        (["texts.hyperion", "--text", "a", "--csv"], b"", 2, "found several"),
        (["texts.hyperion", "--text", "a", "--text-pair", "b", "--text-pair", "c"], b"", 2, "found 2 and 1"),
        (["gone.hyperion", "--text", "a"], b"", 5, "no package at gone.hyperion, and no deployment of that name"),
        (["texts.hyperion", "--csv", "gone.csv"], b"", 5, "there is no file gone.csv"),
        (["texts.hyperion", "--csv"], b"words\na\n", 2, "names no column 'text'"),
        (["texts.hyperion", "--csv"], b"", 2, "it is empty"),
        (["texts.hyperion", "--csv"], b"text\n", 2, "there are no rows"),
        (["texts.hyperion", "--csv"], b"text\n\xff\n", 2, "line 2: is no UTF-8 text"),
        (["texts.hyperion", "--csv"], b'text\n"a', 2, "line 2: unexpected end of data"),
        (["rows.hyperion", "--csv"], b"age,colour\n1\n", 2, "line 2: expected 2 values, found 1"),
        (["rows.hyperion", "--csv"], b"age,colour\n1,red\nx,red\n", 2, "row 1, column 'age': expected a number"),
        (["rows.hyperion", "--csv", "--batch", "1"], b"age,colour\n1,red\nx,red\n", 2, "row 1, column 'age'"),
        (["rows.hyperion", "--text", "a"], b"", 2, "takes rows of a table, not texts"),
        (["texts.hyperion", "--json"], b"3", 2, "expected a list of rows or a v2 request"),
        (["texts.hyperion", "--json"], b"[1, 2]", 2, "rows must be all texts"),
        (["texts.hyperion", "--json"], b'[{"text": "a", "text_pair": "b"}, {"text": "c"}]', 2, "row 1, 'text_pair'"),
        (["texts.hyperion", "--json"], b'{"inputs": [{"name": "text"}]}', 2, "inputs[0].shape: required"),
        (["texts.hyperion", "--npz", "-"], b"PK\x03\x04", 2, "is no NPZ file of plain arrays"),
    ],
)
def test_what_cannot_be_run_is_refused_clearly(
    shell: Shell, arguments: list[str], stdin: bytes, code: int, fault: str
) -> None:
    found, out, err = shell(*arguments, stdin=stdin)

    assert found == code
    assert fault in out + err


def test_a_package_without_processing_says_what_it_takes(shell: Shell, tmp_path: Path) -> None:
    from tests.models import inputs, write_model_dir

    pack(write_model_dir(tmp_path / "plain"), tmp_path / "plain.hyperion", "none")
    np.savez(tmp_path / "x.npz", x=inputs(3))

    code, _, err = shell(str(tmp_path / "plain.hyperion"), "--text", "a")
    assert (code, "takes tensors only: it holds no config/processing.json" in err) == (2, True)
    assert shell(str(tmp_path / "plain.hyperion"), "--npz", str(tmp_path / "x.npz"))[0] == 0


def test_a_stream_that_only_begins_like_a_file_of_tensors_is_not_read_to_its_end(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperion.usecases.run_input.MAX_NPZ_BYTES", 1000)

    code, _, err = shell("texts.hyperion", "--npz", "-", stdin=b"PK" * 1000)

    assert code == 2
    assert "at most 1000 bytes are read" in err


def test_a_file_of_tensors_that_grows_when_it_is_unpacked_is_refused(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperion.usecases.run_input.MAX_NPZ_BYTES", 10_000)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(100_000, dtype=np.uint8))

    code, _, err = shell("texts.hyperion", "--npz", str(tmp_path / "bomb.npz"))

    assert code == 2
    assert "at most 10000 bytes are read, packed and unpacked" in err


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("run", "rows.hyperion", "--csv", "rows.csv"), 4),
        (("package", "model", "--input", "rows", "--output", "again.hyperion"), 4),
        (("verify", "model", "--input", "rows.hyperion"), 1),
        (("verify", "memory", "rows.hyperion"), 1),
        (("version", "compare", "rows.hyperion", "rows.hyperion", "--dataset", "data"), 4),
    ],
)
def test_an_operator_that_this_host_does_not_take_is_incompatible_and_to_verify_the_answer_no(
    command: tuple[str, ...],
    expected: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "a.npz", row=np.zeros((4, 3), dtype=np.float32))
    (tmp_path / "rows.csv").write_text("age,colour,income\n30,red,1\n")
    given = tuple(str(tmp_path / word) if word in ("data", "rows.csv", "again.hyperion") else word for word in command)
    monkeypatch.setenv("HYPERION_DENIED_OPERATORS", "ai.onnx::Gemm,ai.onnx::MatMul,ai.onnx::Softmax")

    code = run(given)

    page = capsys.readouterr()
    assert (code, "model.operator_denied" in page.out + page.err) == (expected, True)
