"""The examples of docs/how-to/use-from-python.md run as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.models import write_model_dir

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "use-from-python.md"


def test_the_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model_dir(tmp_path / "model_dir")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    for example in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(compile(example, GUIDE.name, "exec"), names)  # noqa: S102 - our own text

    shown = capsys.readouterr().out
    assert "True (2, 8)" in shown
    assert "package.not_found" in shown
