"""docs/how-to/send-texts-and-tables.md as it is written: from a model directory to a label over HTTP."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import Shell, ask, told
from tests.ports import free_port
from tests.processing_models import reader, scorer, tokenizer_json, topic_table, write_processed

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "send-texts-and-tables.md"
ELIDED = "…"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in a folder with what the guide's reader has: two model directories, rows.csv, deployment.json."""
    shell = Shell(tmp_path_factory.mktemp("guide"))
    texts, rows = (json.loads(document) for document in blocks("json"))
    topics = write_processed(shell.folder / "topics", reader(3, table=topic_table()), texts)
    (topics / "assets").mkdir()
    (topics / "assets" / "tokenizer.json").write_text(tokenizer_json())
    write_processed(shell.folder / "loans", scorer(), rows)
    (shell.folder / "rows.csv").write_text(blocks("csv")[0])
    write_config(shell.folder / "deployment.json", name="topics", port=free_port())
    yield shell
    shell("stop", "--all")


def commands() -> Iterator[tuple[str, str]]:
    """Each command of the guide, and what it prints there."""
    for block in blocks("console"):
        for text in block.removeprefix("$ ").split("\n$ "):
            command, _, printed = text.partition("\n")
            yield command, printed


def done(shell: Shell, command: str, port: int) -> str:
    """What a command line prints; curl's request is sent without curl, which not every machine has."""
    words = shlex.split(command)
    if words[0] == "curl":
        return json.dumps(ask(words[2].replace(":8080", f":{port}"), json.loads(words[words.index("-d") + 1])))
    if words[1] == "deploy":
        return shell.ok(*words[1:])
    found = shell.within(*words[1:])
    assert found.returncode == 0, told(found)
    return found.stdout


def alike(found: Any, shown: Any) -> bool:
    """Whether JSON is what the guide shows, but for digests and the last digits of figures."""
    if isinstance(shown, dict):
        return found.keys() == shown.keys() and all(alike(found[key], shown[key]) for key in shown)
    if isinstance(shown, list):
        return len(found) == len(shown) and all(map(alike, found, shown))
    if isinstance(shown, float):
        return bool(found == pytest.approx(shown, rel=1e-4))
    return shown == ELIDED or bool(found == shown)


@pytest.fixture(scope="module")
def printed(shell: Shell) -> dict[str, tuple[str, str]]:
    """What every command of the guide prints, and what the guide shows of it."""
    port = json.loads((shell.folder / "deployment.json").read_text())["serve"]["port"]
    return {command: (done(shell, command, port), shown) for command, shown in commands()}


def test_every_command_prints_what_the_guide_shows(printed: dict[str, tuple[str, str]]) -> None:
    for command, (found, shown) in printed.items():
        if found.startswith("{"):
            assert alike(json.loads(found), json.loads(shown)), f"$ {command}\n{found}"
        else:
            assert shown.strip() == ELIDED or found == shown, f"$ {command}\n{found}"


def test_a_served_text_gets_the_label_that_run_gives_for_file_and_deployment(
    shell: Shell, printed: dict[str, tuple[str, str]]
) -> None:
    texts = ("Oil prices fell in London", "My dog watched the bird")  # those of the guide's request
    (served,) = (json.loads(found) for command, (found, _) in printed.items() if command.startswith("curl"))
    (shell.folder / "topics").rename(shell.folder / "moved")  # so that the name is the deployment's alone

    given = [word for text in texts for word in ("--text", text)]
    by_file, by_name = (
        json.loads(shell.within("run", name, *given, "--json").stdout)["predictions"]
        for name in ("topics.hyperion", "topics")
    )

    outputs = {output["name"]: output["data"] for output in served["outputs"]}
    assert by_file == by_name
    assert [found["label"] for found in by_file] == outputs["label"]
    assert [found["score"] for found in by_file] == pytest.approx(outputs["score"], rel=1e-6)


def test_the_python_example_runs(
    shell: Shell,
    printed: dict[str, tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HYPERION_HOME", str(shell.folder / "home"))
    monkeypatch.chdir(shell.folder)

    (example,) = blocks("python")
    exec(compile(example, GUIDE.name, "exec"), {})  # noqa: S102 - our own text

    assert capsys.readouterr().out.split()[0] == "markets"
