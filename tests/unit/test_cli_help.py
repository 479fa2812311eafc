"""Help is quick, complete and true."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from hyperion.cli.command import Command
from hyperion.cli.exit_codes import MEANINGS
from hyperion.cli.main import run
from hyperion.cli.root import COMMANDS, root

HEAVY = {"pydantic", "numpy", "rich", "onnx", "onnxruntime", "httpx", "uvicorn", "sklearn", "sqlite3", "asyncio"}


def leaves(group: click.Group = root, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = list(leaves())
LEAF_IDS = [" ".join(path) for path, _ in LEAVES]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["verify", "--help"], ["deploy", "model", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from hyperion.cli.main import run; run(sys.argv[1:]);"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )

    page = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)

    assert page.stdout.splitlines()[-1] == "HEAVY []"


def test_help_takes_less_than_200_ms_of_processor_time() -> None:
    def processor_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "hyperion", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(processor_s() for _ in range(3)) < 0.2


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_command_says(name: str) -> None:
    command = root.get_command(click.Context(root), name)

    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=LEAF_IDS)
def test_every_command_has_a_description_examples_and_exit_codes(
    path: tuple[str, ...], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0

    page = capsys.readouterr().out
    assert isinstance(command, Command)
    assert command.help
    assert f"hyperion {' '.join(path)}" in page.split("Examples:")[1]
    assert set(command.exit_codes) <= set(MEANINGS)
    for code in command.exit_codes:
        assert f"  {code} " in page.split("Exit codes:")[1]


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=LEAF_IDS)
def test_every_option_is_explained(path: tuple[str, ...], command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts[0]}"


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=LEAF_IDS)
def test_every_command_that_answers_can_answer_in_json(path: tuple[str, ...], command: click.Command) -> None:
    if path in {("serve",), ("completion",)}:
        return
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=LEAF_IDS)
def test_the_examples_parse(path: tuple[str, ...], command: click.Command) -> None:
    import shlex

    assert isinstance(command, Command)
    for example in command.examples:
        words = shlex.split(example.split(" > ")[0].removeprefix('eval "$(').removesuffix(')"'))
        if words[0] != "hyperion":
            continue
        assert tuple(words[1 : 1 + len(path)]) == path
        command.make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_hyperion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0

    assert f"_HYPERION_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_offers_the_commands_of_a_group() -> None:
    environment = {"_HYPERION_COMPLETE": "bash_complete", "COMP_WORDS": "hyperion verify me", "COMP_CWORD": "2"}

    page = subprocess.run(
        [sys.executable, "-m", "hyperion"], env=environment, capture_output=True, text=True, check=True
    )

    assert page.stdout == "plain,memory\n"
