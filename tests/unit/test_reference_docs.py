"""docs/reference is what the code says, and its examples load."""

from __future__ import annotations

import json
from types import ModuleType

import pytest
from docs import generate
from docs.generate import DOCUMENTS, REFERENCE, DocumentPage

from hyperion.domain.manifest import Manifest
from hyperion.format.manifest_json import read_manifest
from hyperion.format.strict_json import parse_document

PAGES = generate.pages()


@pytest.mark.parametrize("name", PAGES, ids=str)
def test_the_page_is_what_the_code_says(name: object) -> None:
    path = REFERENCE / str(name)

    assert path.is_file(), "run: make docs"
    assert path.read_text(encoding="utf-8") == PAGES[name], "run: make docs"  # type: ignore[index]


def test_no_schema_is_left_over() -> None:
    assert {path.name for path in (REFERENCE / "schemas").iterdir()} == {
        generate.schema_name(page) for page in DOCUMENTS
    }


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.title)
def test_the_example_loads_and_sets_every_key_that_matters(page: DocumentPage) -> None:
    raw = (REFERENCE / "examples" / page.example).read_bytes()

    document = parse_document(page.model, raw, page.example)

    assert document.model_fields_set
    assert set(json.loads(raw)) <= {
        field.alias or name for name, field in page.model.model_fields.items()
    }  # fmt: skip


def test_the_example_manifest_is_a_manifest() -> None:
    raw = (REFERENCE / "examples" / "manifest.json").read_bytes()

    assert isinstance(read_manifest(raw, "manifest.json"), Manifest)


def test_every_command_of_the_guide_is_on_the_command_line_page() -> None:
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")

    for command in (
        "package model", "extract model", "verify model", "version check", "version update", "version compare",
        "backup model", "deploy model", "verify deployment", "monitor model", "rollback model", "log rollback",
        "verify integrity", "verify performance", "verify memory", "verify compatibility", "monitor performance",
        "monitor resources", "monitor errors", "status", "history", "logs", "inspect", "stop", "serve",
        "platform probe", "completion",
    ):  # fmt: skip
        assert f"## hyperion {command}\n" in page


def test_a_check_changes_nothing_and_a_drift_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module: ModuleType = generate
    monkeypatch.setattr(module, "pages", lambda: {**PAGES, next(iter(PAGES)): "other"})
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])

    assert generate.main() == 1
    assert f"differ from the code: {next(iter(PAGES))}" in capsys.readouterr().out
