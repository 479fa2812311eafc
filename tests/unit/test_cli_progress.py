"""Bars: what a person who waits wants to know."""

from __future__ import annotations

import io

from rich.console import Console

from hyperion.cli.progress import _rich_progress


def line_after(seconds: float, total: int, done: int, *, is_bytes: bool) -> str:
    """The bar of a stage that did ``done`` of ``total`` in so many seconds."""
    now = 0.0
    progress = _rich_progress()
    progress.get_time = lambda: now
    task = progress.add_task("Checking", total=total, is_bytes=is_bytes, unit="requests")
    progress.advance(task, 0)
    now = seconds
    progress.advance(task, done)
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(progress.get_renderable())
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_bytes_have_a_rate_and_a_time_left() -> None:
    shown = line_after(10.0, 4 * 2**30, 2**30, is_bytes=True)

    assert "1.0 GiB of 4.0 GiB" in shown
    assert "102.4 MiB/s" in shown
    assert "0:00:30 left" in shown


def test_other_stages_show_what_was_done_and_the_time_that_passed() -> None:
    shown = line_after(10.0, 40, 10, is_bytes=False)

    assert "10 of 40 requests" in shown
    assert "0:00:10" in shown
    assert "left" not in shown
