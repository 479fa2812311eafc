"""Documents are written without running Python code that could lose a Ctrl-C inside the serializer."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import FrameType

import pytest
from pydantic import ValidationError

from hyperion.domain.command import Deploy
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.document import Document, JsonValue
from hyperion.domain.finding import Finding, Outcome, Report

TREE: JsonValue = {"x": [1, True, 1.5, None, "text", {"y": []}]}


class Holder(Document):
    value: JsonValue = None


def command() -> Deploy:
    finding = Finding(check="a.check", outcome=Outcome.PASSED, summary="s", measured=TREE, limit=3)
    return Deploy(
        package_path="/p", expected_digest="sha256:" + "0" * 64, config=DeploymentConfig(name="d"), actor="me",
        checklist=Report(
            kind="checklist", subject=None, created_at=datetime(2026, 1, 1, tzinfo=UTC), findings=(finding,),
            figures={"f": TREE},
        ),
    )  # fmt: skip


@pytest.mark.parametrize("document", [Holder(value=TREE), command()], ids=lambda document: type(document).__name__)
def test_serializing_calls_nothing_but_enums_which_pass_errors_on(document: Document) -> None:
    called: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)

    serializer = document.__pydantic_serializer__
    sys.setprofile(note)
    try:
        serializer.to_python(document, mode="json")
        serializer.to_json(document)
    finally:
        sys.setprofile(None)

    assert set(called) <= {"property.__get__", "Enum.value"}


def test_json_values_keep_their_types() -> None:
    held = Holder(value=TREE)

    assert repr(held.value) == repr(TREE)
    assert Holder.model_validate_json(held.model_dump_json()) == held


@pytest.mark.parametrize("value", [object(), b"bytes", (1,), {1: 2}, {"x": [set()]}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Holder(value=value)  # type: ignore[arg-type]
