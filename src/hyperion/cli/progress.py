"""What use cases report, drawn on stderr: bars on a terminal, one line a stage elsewhere, nothing for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hyperion.cli.text import clean

if TYPE_CHECKING:
    from rich.progress import Progress

    from hyperion.ports import Reporter


class LineReporter:
    """For a log file or a pipe: one line when a stage begins.

    Quiet, for ``--json``, it keeps to warnings, which disturb no parser of stdout.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    @contextmanager
    def stage(
        self,
        title: str,
        total: int | None = None,  # noqa: ARG002  (the port's)
        unit: str = "",  # noqa: ARG002
    ) -> Iterator[Callable[[int], None]]:
        self.info(title)
        yield _ignore

    def info(self, message: str) -> None:
        if not self._quiet:
            click.echo(clean(message), err=True)

    def warn(self, message: str) -> None:
        click.echo(f"warning: {clean(message)}", err=True)


class TerminalReporter:
    """For a person: a bar while a stage runs, a line when it is done."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
        if self._progress is not None:  # a stage within a stage is one more bar
            with self._bar(self._progress, title, total, unit) as advance:
                yield advance
            return
        try:
            with _rich_progress() as self._progress, self._bar(self._progress, title, total, unit) as advance:
                yield advance
        finally:
            self._progress = None

    @contextmanager
    def _bar(self, progress: Progress, title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        task = progress.add_task(clean(title), total=total, is_bytes=unit == "B", unit=clean(unit))

        def advance(amount: int) -> None:
            progress.advance(task, amount)

        try:
            yield advance
        finally:
            progress.remove_task(task)
        _print(progress, f"{clean(title)}: done", "dim")

    def info(self, message: str) -> None:
        self._say(clean(message), "")

    def warn(self, message: str) -> None:
        self._say(f"warning: {clean(message)}", "yellow")

    def _say(self, message: str, style: str) -> None:
        if self._progress is not None:
            _print(self._progress, message, style)
        else:
            coloured = style and not os.environ.get("NO_COLOR")
            click.echo(click.style(message, fg=style) if coloured else message, err=True)


def make_reporter(*, as_json: bool) -> Reporter:
    """The reporter that suits where stderr goes."""
    if as_json:
        return LineReporter(quiet=True)
    return TerminalReporter() if sys.stderr.isatty() else LineReporter()


def _print(progress: Progress, message: str, style: str) -> None:
    """A line above the bars."""
    from rich.text import Text

    progress.console.print(Text(message, style))  # a style given to print() would colour the bars too


def _ignore(_amount: int) -> None:
    """Where no bar moves."""


def _rich_progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    from hyperion.cli.text import bytes_for_people

    class Amount(TextColumn):
        def render(self, task: Task) -> Text:
            if task.total is None:
                return Text("")
            if task.fields["is_bytes"]:
                return Text(f"{bytes_for_people(task.completed)} of {bytes_for_people(task.total)}")
            return Text(f"{task.completed:.0f} of {task.total:.0f} {task.fields['unit']}".rstrip())

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            if not task.fields["is_bytes"] or task.speed is None:
                return Text("")
            return Text(f"{bytes_for_people(task.speed)}/s")

    class Time(TimeElapsedColumn):
        """Of bytes, whose rate tells, what is left; of anything else, what has passed."""

        left = TimeRemainingColumn()

        def render(self, task: Task) -> Text:
            if not task.fields["is_bytes"]:
                return super().render(task)
            return Text.assemble(self.left.render(task), " left")

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    title = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), title, BarColumn(), Amount(""), Rate(""), Time(table_column=Column(no_wrap=True)))
    return Progress(*columns, console=console, transient=True)
