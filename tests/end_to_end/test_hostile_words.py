"""Names and reasons with escape sequences, markup and HTML: shown, kept and never obeyed, wherever they come out."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import onnx
import pytest
from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import Shell, refused
from tests.models import mlp, write_model_dir
from tests.ports import free_port

EVIL = '\x1b]0;owned\x07\x1b[2J[bold red]red[/] <script>alert(1)</script> | **b** `c`\n# heading "}\u202e'


def is_inert(page: str) -> None:
    """No control character but newlines, no change of direction."""
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page) is None, ascii(page)


def test_a_reason_is_kept_as_it_is_and_shown_harmlessly_everywhere(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    port = free_port()
    config = write_config(tmp_path / "deployment.json", name="shop", port=port, notes=EVIL, owner=EVIL)
    source = write_model_dir(tmp_path / "source", name=EVIL)
    shell.made("package", "model", "--input", source, "--output", "m.hyperion", "--author", EVIL)
    backup = tmp_path / "backup" / "shop"
    try:
        deployed = shell.ok("deploy", "model", "--input", "m.hyperion", "--config", config)
        shell.made("backup", "model", "--name", "shop", "--output", tmp_path / "backup")
        back = shell.ok("rollback", "model", "--backup", backup, "--reason", EVIL)
        record = shell.ok("log", "rollback", "--backup", backup, "--reason", EVIL)
        data = json.loads(shell.made("log", "rollback", "--backup", backup, "--reason", EVIL, "--json"))
        raw = shell.made("history", "shop", "--json")
        pages = [deployed, back, record, raw, shell.ok("history", "shop"), shell.ok("status"), shell.ok("logs", "shop")]
        code, drawn = shell.terminal("history", "shop", NO_COLOR="1")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            metrics = answer.read().decode()
    finally:
        shell("stop", "--all")

    for page in (*pages, metrics):
        is_inert(page)
    assert code == 0
    assert "\x1b]0;" not in drawn
    assert "\x1b[2J" not in drawn
    assert "\u202e" not in drawn
    assert "<script>" not in record  # Markdown may hold HTML: here it must not
    assert "\n# heading" not in record
    assert "**b**" not in record
    assert data["reason"] == EVIL
    assert [note["text"] for note in data["notes"]] == [EVIL, EVIL]
    assert all(re.fullmatch(r'[a-z_]+(\{([a-z_]+="[^"\n\\]*",?)*\})? \S+|# .*', text) for text in metrics.splitlines())


@pytest.mark.parametrize("name", [EVIL, "a/b", "..", "a b", "", "x" * 64])
def test_a_deployments_name_outside_the_convention_is_refused(tmp_path: Path, workspace: Shell, name: str) -> None:
    config = tmp_path / "deployment.json"
    config.write_text(json.dumps({"name": name}))

    said = refused(workspace.within("deploy", "model", "--input", "model.hyperion", "--config", config), 2)

    is_inert(said)
    assert "name" in said


@pytest.mark.parametrize(("other", "code"), [(f"{EVIL}2", 0), (EVIL, 9)], ids=["packaged", "refused for its names"])
def test_a_model_that_claims_hostile_names_inside_is_shown_harmlessly(
    workspace: Shell, tmp_path: Path, other: str, code: int
) -> None:
    source = write_model_dir(tmp_path / "source", golden=False)
    model = mlp()
    model.graph.node[0].name, model.graph.node[2].name = EVIL, other
    model.graph.doc_string = model.producer_name = EVIL
    onnx.save(model, source / "model.onnx")

    done = workspace("package", "model", "--input", source, "--output", tmp_path / "m.hyperion")

    is_inert(done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    if code == 0:
        is_inert(workspace.made("inspect", tmp_path / "m.hyperion"))


def test_a_path_with_escape_sequences_is_shown_harmlessly(workspace: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "\x1b[31mred[bold]"
    folder.mkdir()

    said = refused(workspace("package", "model", "--input", folder, "--output", tmp_path / "m.hyperion"), 3)

    is_inert(said)
    assert "[31mred[bold]" in said
    assert list(tmp_path.iterdir()) == [folder]
