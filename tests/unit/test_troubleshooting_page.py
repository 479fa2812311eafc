"""docs/how-to/troubleshoot.md: each entry of the guide's list, with commands, checks and figures that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from hyperion.cli.root import root
from hyperion.domain.checklist import GUIDE as CHECKLIST

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "troubleshoot.md"
GUIDE = {
    "Deployment issues": (
        "Check system requirements", "Verify dependencies", "Review error logs", "Test in isolation",
    ),
    "Performance issues": (
        "Monitor resource usage", "Check optimization settings", "Review model configuration", "Profile execution",
    ),
    "Memory issues": (
        "Check memory budget", "Monitor memory usage", "Review optimization settings", "Adjust memory configuration",
    ),
    "Compatibility issues": (
        "Verify platform support", "Check dependency versions", "Review API compatibility", "Test on target platform",
    ),
}  # fmt: skip
"""The troubleshooting section of the deployment guide, to the letter."""


def sections() -> dict[str, list[str]]:
    """The first column of each section's table."""
    found: dict[str, list[str]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
        found[title] = rows[2:]
    return found


def commands() -> list[list[str]]:
    """Every command of the page."""
    text = PAGE.read_text()
    inline = re.findall(r"`(hyperion [^`]*)`", text)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in (*inline, *lines)]


def test_every_entry_of_the_guide_stands_in_its_section() -> None:
    assert sections() == {title: list(entries) for title, entries in GUIDE.items()}


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_and_its_options_exist(command: list[str]) -> None:
    found, context, words = root, click.Context(root, info_name="hyperion"), command[1:]
    while isinstance(found, click.Group):
        name = words.pop(0)
        next_one = found.get_command(context, name)
        assert next_one is not None, name
        found = next_one
    found.make_context(command[1], words, parent=context, resilient_parsing=False)


def test_each_check_that_it_names_is_made() -> None:
    made = {check for section in CHECKLIST for item in section.items for check in item.checks}

    assert set(re.findall(r"`(plan\.\w+)`", PAGE.read_text())) <= made
