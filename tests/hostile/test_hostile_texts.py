"""Texts of a package with escape sequences, markup and HTML: not refused, but shown so that nothing obeys them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from tests.end_to_end.shell import Shell, told
from tests.models import mlp
from tests.packaging import pack

EVIL = (
    "\x1b]0;owned\x07\x1b[2J[bold red]x[/] <script>alert(1)</script> | **b** `c` [t](javascript:e)\r\n# h \u202e\u200b"
)
UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, or nobody sees."""


def hostile_model(seed: int) -> onnx.ModelProto:
    """A model whose every name is hostile; another seed gives another weight, label and output."""
    model = mlp(seed)
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = EVIL + value.name
    for node in graph.node:
        node.name = EVIL + node.name
        node.input[:] = [EVIL + name for name in node.input]
        node.output[:] = [EVIL + name for name in node.output]
    graph.output[0].type.tensor_type.shape.dim[0].dim_param = f"{EVIL}{seed}"
    return model


def hostile_package(folder: Path, seed: int, **options: object) -> Path:
    """A package whose every free text is hostile."""
    folder.mkdir()
    onnx.save(hostile_model(seed), folder / "model.onnx")
    labels = [f"{EVIL}{number + seed}" for number in range(8)]
    card = {"name": "tiny", "version": f"1.{seed}.0", "labels": labels, "tags": [EVIL, f"{EVIL}{seed}"]}
    texts = dict.fromkeys(("description", "author", "license"), f"{EVIL}{seed}")
    (folder / "hyperion.json").write_text(json.dumps({**card, **texts}))
    (folder / "README.md").write_text(f"{EVIL}{seed}")
    output = folder.with_suffix(".hyperion")
    pack(folder, output, "none", **options)
    return output


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """In a folder with two such packages, the second made from the first, each with a line of history."""
    folder = tmp_path_factory.mktemp("hostile_texts")
    first = hostile_package(folder / "a", 0)
    second = hostile_package(folder / "b", 1, parent=first)
    shell = Shell(folder)
    for package in (first, second):
        done = shell.within("version", "update", package, "--major", "--message", EVIL)
        assert done.returncode == 0, told(done)
    return shell


COMMANDS = {
    "inspect": ("inspect", "a.hyperion"),
    "verify integrity": ("verify", "integrity", "a.hyperion"),
    "version check": ("version", "check", "b.hyperion"),
    "verify compatibility": ("verify", "compatibility", "a.hyperion", "--platform", "linux/arm64"),
    "version compare": ("version", "compare", "a.hyperion", "b.hyperion"),
    "version compare, plan": ("version", "compare", "a.hyperion", "b.hyperion", "--plan"),
    "extract": ("extract", "model", "--input", "a.hyperion", "--output", "out"),
    "extract again": ("extract", "model", "--input", "b.hyperion", "--output", "out"),
    "version update refused": ("version", "update", "b.hyperion", "--patch", "--message", EVIL * 100),
}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["for people", "as json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_passes_them_on_to_the_terminal(command: str, options: tuple[str, ...], shell: Shell) -> None:
    done = shell.within(*COMMANDS[command], *options)

    page = done.stdout + done.stderr
    assert done.returncode in (0, 1, 2, 6), told(done)
    assert UNSAFE.search(page) is None, ascii(page)
    assert "Traceback" not in page
    assert not any(line.startswith("# h") for line in page.splitlines())
    assert not options or json.loads(done.stdout)


def test_markdown_shows_them_as_text(shell: Shell) -> None:
    done = shell.within("version", "compare", "a.hyperion", "b.hyperion", "--markdown")

    page = done.stdout
    assert done.returncode in (0, 1), told(done)
    assert "script" in page
    assert UNSAFE.search(page) is None, ascii(page)
    assert "<script" not in page
    for markup in (r"\*\*b\*\*", r"\[t\]\(", r"`c`"):
        assert re.search(rf"(?<!\\){markup}", page) is None, page
    assert not any(line.lstrip().startswith("# h") for line in page.splitlines())


def test_a_program_gets_them_as_they_are(shell: Shell) -> None:
    done = shell.within("inspect", "a.hyperion", "--json")

    assert json.loads(done.stdout)["author"] == f"{EVIL}0"
