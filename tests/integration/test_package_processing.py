"""config/processing.json while packaging: checked whole, named by file and field, and taken for the labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.packaging import load, pack, packaging_host
from tests.processing_models import TOPICS, VOCABULARY, reader, table_dir, text_dir, topic_table
from tests.serving_kit import rewritten

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.finding import Outcome
from hyperion.errors import ConfigError, ConflictError
from hyperion.usecases.extract import extract_model
from hyperion.verification.processing import check_processing


def test_all_faults_are_told_by_file_and_field(tmp_path: Path) -> None:
    folder = text_dir(tmp_path / "model", ids="words", pad_token="<pad>")  # noqa: S106
    path = folder / "config" / "processing.json"

    with pytest.raises(ConfigError) as refusal:
        pack(folder, tmp_path / "m.hyperion", "none")

    assert str(path) in refusal.value.message
    assert [problem.path for problem in refusal.value.problems] == ["input.ids", "input", "input.pad_token"]
    assert not (tmp_path / "m.hyperion").exists()


def test_a_tokenizer_that_does_not_load_is_refused(tmp_path: Path) -> None:
    folder = text_dir(tmp_path / "model")
    (folder / "assets" / "tokenizer.json").write_text("{}")

    with pytest.raises(ConfigError, match=r"input\.tokenizer: 'assets/tokenizer\.json' is no tokenizer\.json"):
        pack(folder, tmp_path / "m.hyperion", "none")


def test_a_tokenizer_with_more_ids_than_the_table_has_rows_is_refused(tmp_path: Path) -> None:
    short = reader(len(TOPICS), table=topic_table()[: VOCABULARY - 5])
    folder = text_dir(tmp_path / "model", model=short)

    with pytest.raises(ConfigError, match=r"input\.tokenizer: 'assets/tokenizer\.json' gives ids up to") as refusal:
        pack(folder, tmp_path / "m.hyperion", "none")

    assert f"ids up to {VOCABULARY - 1} (token " in refusal.value.message
    assert f"'input_ids' picks from a table of {VOCABULARY - 5} rows" in refusal.value.message
    assert not (tmp_path / "m.hyperion").exists()


def test_any_other_json_is_refused(tmp_path: Path) -> None:
    folder = text_dir(tmp_path / "model")
    (folder / "config" / "processing.json").write_text('{"scale": 255}')

    with pytest.raises(ConfigError, match=r"processing\.json: input: required"):
        pack(folder, tmp_path / "m.hyperion", "none")


def test_its_labels_become_the_signatures(tmp_path: Path) -> None:
    pack(table_dir(tmp_path / "model"), tmp_path / "m.hyperion", "none")

    assert load(tmp_path / "m.hyperion").manifest.signature.labels == ("no", "yes")


def test_labels_that_contradict_hyperion_json_are_refused(tmp_path: Path) -> None:
    folder = table_dir(tmp_path / "model")
    card = json.loads((folder / "hyperion.json").read_text())
    (folder / "hyperion.json").write_text(json.dumps(card | {"labels": ["yes", "no"]}))

    with pytest.raises(ConfigError, match=r"output\.labels"):
        pack(folder, tmp_path / "m.hyperion", "none")


def test_an_edit_of_it_is_checked_when_a_tree_becomes_a_new_package(tmp_path: Path) -> None:
    pack(table_dir(tmp_path / "model"), tmp_path / "a.hyperion", "none")
    extract_model(packaging_host(tmp_path), tmp_path / "a.hyperion", tmp_path / "tree", CollectingReporter())
    path = tmp_path / "tree" / "config" / "processing.json"
    path.write_text(path.read_text().replace('"row"', '"rows"'))

    with pytest.raises(ConfigError, match="the model has no 'rows'"):
        pack(tmp_path / "tree", tmp_path / "b.hyperion", as_new=True)


def test_an_older_package_with_another_document_stays_readable(tmp_path: Path) -> None:
    pack(table_dir(tmp_path / "model"), tmp_path / "a.hyperion", "none")
    old = rewritten(tmp_path / "a.hyperion", tmp_path / "old.hyperion", {"config/processing.json": b'{"scale": 255}'})

    model = load(old)

    assert model.inputs[0].name == "row"
    with pytest.raises(ConfigError, match="takes tensors only") as refusal:
        model.predict([{"age": 1}])
    assert refusal.value.code == "processing.unusable"


def test_verification_tells_what_raw_inputs_it_takes_and_warns_of_an_unknown_document(tmp_path: Path) -> None:
    pack(table_dir(tmp_path / "model"), tmp_path / "a.hyperion", "none")
    old = rewritten(tmp_path / "a.hyperion", tmp_path / "old.hyperion", {"config/processing.json": b'{"scale": 255}'})

    with LocalPackages().open(tmp_path / "a.hyperion") as good, LocalPackages().open(old) as unknown:
        (fits,), (warned,) = check_processing(good), check_processing(unknown)

    assert (fits.outcome, fits.summary) == (Outcome.PASSED, "fits the model; raw inputs: age, colour, income")
    assert (warned.outcome, "input: required" in (warned.reason or "")) == (Outcome.WARNED, True)


def test_an_older_document_survives_an_edit_of_something_else(tmp_path: Path) -> None:
    pack(table_dir(tmp_path / "model"), tmp_path / "a.hyperion", "none")
    old = rewritten(tmp_path / "a.hyperion", tmp_path / "old.hyperion", {"config/processing.json": b'{"scale": 255}'})
    extract_model(packaging_host(tmp_path), old, tmp_path / "tree", CollectingReporter())
    (tmp_path / "tree" / "assets").mkdir(exist_ok=True)
    (tmp_path / "tree" / "assets" / "NOTES.md").write_text("tuned by hand\n")

    pack(tmp_path / "tree", tmp_path / "b.hyperion", as_new=True)

    with LocalPackages().open(tmp_path / "b.hyperion") as package:
        assert package.read("config/processing.json") == b'{"scale": 255}'


def test_a_model_does_not_take_the_processing_of_another_package(tmp_path: Path) -> None:
    pack(table_dir(tmp_path / "model"), tmp_path / "a.hyperion", "none")
    model = load(tmp_path / "a.hyperion")
    pack(table_dir(tmp_path / "other"), tmp_path / "a.hyperion", "none")

    with pytest.raises(ConflictError, match="another package now"):
        model.predict([{"age": 1, "colour": "red"}])


def test_of_many_raw_inputs_the_finding_names_some_and_their_number(tmp_path: Path) -> None:
    pack(
        table_dir(tmp_path / "model", columns=[{"name": f"c{at}"} for at in range(64)]), tmp_path / "a.hyperion", "none"
    )

    with LocalPackages().open(tmp_path / "a.hyperion") as package:
        (fits,) = check_processing(package)

    assert fits.summary == "fits the model; raw inputs: c0, c1, c2, c3, c4, c5, c6, c7 and 56 more, 64 in all"
