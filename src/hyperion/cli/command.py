"""What all commands share: help with examples and exit codes, lazy loading, and the options they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from hyperion.cli.exit_codes import MEANINGS

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class _GivenPath(click.Path):
    """A path that has at least one character: an empty variable in a script must not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("a path was expected, found nothing", param, ctx)
        return super().convert(value, param, ctx)


PATH = _GivenPath(path_type=Path, readable=False)
"""A path of any kind; whether it exists and may be read is the use case's question, which has the better answer."""


class Command(click.Command):
    """A command that names its examples and exit codes.

    Attributes:
        examples: Command lines that work as written.
        exit_codes: All codes that it ends with, but those of every command (0, 2, 70, 130).
    """

    def __init__(self, *args: Any, examples: Sequence[str], exit_codes: Sequence[int] = (), **attributes: Any) -> None:
        attributes.setdefault("context_settings", HELP_OPTIONS)
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self.exit_codes = tuple(sorted({0, 2, 70, 130, *exit_codes}))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), MEANINGS[code]) for code in self.exit_codes])


class Lazy(NamedTuple):
    """Where a command is, and what the list of commands says of it without importing it."""

    target: str
    """``module:attribute``."""
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that the list of them is quick."""

    def __init__(self, *args: Any, lazy: dict[str, Lazy], **attributes: Any) -> None:
        attributes.setdefault("context_settings", HELP_OPTIONS)
        super().__init__(*args, **attributes)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        found = self.lazy.get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found.target.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{found.target} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.lazy and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.lazy, n=1)
            raise click.UsageError(
                f"No such command {args[0]!r}.{f' Did you mean {close[0]!r}?' if close else ''}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self.lazy.items()])


class Group(click.Group):
    """A group whose list of commands shows the whole first sentence of each."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            rows = ((name, (command.help or "").partition("\n\n")[0]) for name, command in self.commands.items())
            formatter.write_dl([(name, " ".join(text.split())) for name, text in rows])


def group(summary: str, name: str) -> click.Group:
    """A group of commands under one verb."""
    return Group(name, help=summary, context_settings=HELP_OPTIONS)


json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON on stdout.")
name_option = click.option(
    "--name", metavar="NAME", help="The deployment, where several serve this package.", default=None
)
model_option = click.option(
    "--model", "model", type=PATH, required=True, metavar="F", help="The deployed package, or a backup of it."
)
full_option = click.option(
    "--full", is_flag=True, help="Read every byte, also of what was proven before and is unchanged since."
)
count_option = click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after N rounds; without it, end by Ctrl-C."
)


def interval_option(default: float) -> Callable[[Any], Any]:
    """``--interval``, in seconds."""
    return click.option(
        "--interval",
        "interval_s",
        type=click.FloatRange(min=0.1, max=86_400),
        default=default,
        show_default=True,
        metavar="S",
        help="Seconds between rounds.",
    )
