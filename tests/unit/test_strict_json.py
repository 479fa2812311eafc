"""JSON that means one thing, and documents that report all their faults."""

from __future__ import annotations

import pytest

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.document import Document
from hyperion.errors import ConfigError
from hyperion.format.strict_json import json_path, parse_document, parse_json


@pytest.mark.parametrize(
    ("raw", "code", "fault"),
    [
        (b"", "invalid", "line 1, column 1"),
        (b'{"a": 1,}', "invalid", "line 1, column"),
        (b"\xef\xbb\xbf{}", "encoding", "byte-order mark"),
        (b"\xff\xfe{\x00}\x00", "encoding", "byte-order mark"),
        (b'"\xff"', "encoding", "bad byte at offset 1"),
        (b'{"a": 1, "a": 2}', "duplicate_key", "'a' twice"),
        (b"[NaN]", "number", "NaN"),
        (b"[-Infinity]", "number", "-Infinity"),
        (b"[1e999]", "number", "no double"),
        (b"[9007199254740992]", "number", "beyond"),
        (b"[" + b"9" * 5000 + b"]", "number", "beyond"),
        (b'["\\ud800"]', "encoding", "lone surrogate"),
        (b'{"\\udfff": 1}', "encoding", "lone surrogate"),
        (b"[" * 65 + b"]" * 65, "nesting", "nested deeper than 64"),
        (b"[" * 100_000, "nesting", "nested deeper than 64"),
        (b"[1] [2]", "invalid", "Extra data"),
        (b"[" + b"[]," * 500_000 + b"[]]", "too_large", "commas and opening brackets"),
        (b'"' + b"x" * 9_000_000 + b'\\u00e9"', "too_large", "beyond ASCII"),
        (('"' + "x" * 9_000_000 + 'é"').encode(), "too_large", "beyond ASCII"),
    ],
    ids=lambda given: repr(given)[:30],
)
def test_what_readers_understand_differently_is_refused(raw: bytes, code: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=r"^config\.json ") as refused:
        parse_json(raw, "config.json")

    assert fault in refused.value.message
    assert refused.value.code == f"json.{code}"


def test_limits_are_reached_but_not_passed() -> None:
    assert parse_json(b"[9007199254740991, -9007199254740991]", "x") == [2**53 - 1, -(2**53) + 1]
    assert parse_json(b"[" * 64 + b"]" * 64, "x")
    assert parse_json(b"[" * 64 + b"1" + b"]" * 64, "x")
    assert parse_json(b'"' + b"x" * 9_000_000 + b'"', "x")
    assert parse_json(b"[" + b"[]," * 499_999 + b"0]", "x")
    assert parse_json(b'["\\ud83d\\ude00"]', "x") == ["😀"]
    with pytest.raises(ConfigError, match="at most 3 are read"):
        parse_json(b"1234", "x", limit=3)


def test_a_document_reports_every_fault_with_its_path() -> None:
    raw = b'{"serve": {"port": "80", "hots": "x"}, "workers": 0, "name": "a b", "drain_timeout_s": -1}'

    with pytest.raises(ConfigError) as refused:
        parse_document(DeploymentConfig, raw, "deployment.json")

    problems = {problem.path: problem.message for problem in refused.value.problems}
    assert set(problems) == {"serve.port", "serve.hots", "workers", "name", "drain_timeout_s"}
    assert problems["serve.hots"] == "unknown key"
    assert "'80'" in problems["serve.port"]
    assert refused.value.message.startswith("deployment.json: ")
    assert all(path in refused.value.message for path in problems)


def test_paths_name_keys_not_the_members_of_unions() -> None:
    class Shape(Document):
        sizes: tuple[int | str, ...]
        unit: str

    with pytest.raises(ConfigError) as refused:
        parse_document(Shape, b'{"sizes": [1, null]}', "shape.json")

    assert {problem.path for problem in refused.value.problems} == {"sizes[1]", "unit"}


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("[]", "canary.steps: expected at least 1 item, found 0"),
        ('[{"share": 1.5}]', "canary.steps[0].share: input should be less than 1, found 1.5"),
    ],
)
def test_a_list_is_too_short_in_plain_words_and_not_for_the_faults_of_its_items(steps: str, told: str) -> None:
    raw = f'{{"strategy": "canary", "canary": {{"steps": {steps}}}}}'

    with pytest.raises(ConfigError) as refused:
        parse_document(DeploymentConfig, raw.encode(), "deployment.json")

    assert refused.value.message == f"deployment.json: {told}"


def test_a_document_that_is_no_object_is_refused_as_a_whole() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_document(DeploymentConfig, b"[]", "deployment.json")

    assert refused.value.problems[0].path == ""


def test_long_values_and_long_lists_of_faults_are_cut() -> None:
    keys = ", ".join(f'"k{number}": 1' for number in range(30))

    with pytest.raises(ConfigError, match="and 20 more") as refused:
        parse_document(DeploymentConfig, f"{{{keys}}}".encode(), "x")
    with pytest.raises(ConfigError) as long:
        parse_document(DeploymentConfig, b'{"workers": "' + b"w" * 1000 + b'"}', "x")

    assert len(refused.value.problems) == 30
    assert len(long.value.message) < 300


def test_what_a_faulty_document_holds_is_not_told_whole() -> None:
    with pytest.raises(ConfigError, match="has 20000 faults") as many:
        parse_document(DeploymentConfig, b"{%s}" % b",".join(b'"k%d": 1' % n for n in range(20_000)), "x")
    with pytest.raises(ConfigError) as nested:
        parse_document(DeploymentConfig, b'{"name": [' + b"[]," * 100_000 + b"1]}", "x")

    assert len(many.value.problems) == 1
    assert len(nested.value.message) < 300


def test_json_paths_quote_what_is_no_word() -> None:
    assert json_path(("serve", "$schema", 0, "a b")) == 'serve.$schema[0]["a b"]'


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (b'{"batching": {"mood": "x"}}', "the keys of batching are mode, max_batch, max_wait_ms"),
        (b'{"workers": "two"}', None),
    ],
)
def test_an_unknown_key_is_answered_with_the_keys_that_there_are(raw: bytes, hint: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_document(DeploymentConfig, raw, "deployment.json")

    assert refused.value.hint == hint


def test_the_keys_of_a_document_name_what_its_file_names() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_document(DeploymentConfig, b'{"workrs": 1}', "deployment.json")

    assert refused.value.hint is not None
    assert refused.value.hint.startswith("the keys are $schema, ")
    assert "workers" in refused.value.hint
