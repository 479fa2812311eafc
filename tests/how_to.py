"""How-to guides as programs: the files that they name, the commands in their order, and what they say is printed.

Comments in the Markdown, which no reader sees, say what a test has to know of the block that follows:

* ``<!-- not run: WHY -->``: this block cannot run here;
* ``<!-- exit code N -->``: its last command is shown to fail so;
* ``<!-- before: COMMAND -->``: what must have happened meanwhile.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOW_TO = Path(__file__).resolve().parents[1] / "docs" / "how-to"
ELLIPSIS = "…"
_COMMENT = re.compile(r"<!-- (not run: .+|exit code \d+|before: .+) -->")
_FENCE = re.compile(r"( *)```(\w*)")
_NAMED_FILE = re.compile(r"`([\w.-]+\.json)`:$")
_SAME = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"), "N"),
    (re.compile(r"sha256:[0-9a-f]+…?"), "DIGEST"),
    (re.compile(r"hyp_\S+"), "TOKEN"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"), "DAY"),
    (re.compile(r"\bCES?T\b"), "ZONE"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "N"),
    (re.compile(r"\d[\d,.]*"), "N"),
    (re.compile(r"(?<=\s)-(?=\s)"), "N"),
    (re.compile(r"\b[KM]iB\b"), "MiB"),
    (re.compile(r"\s+"), " "),
)
"""What differs from one run to the next."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a how-to.

    Attributes:
        text: As it would be pasted.
        shown: Lines that the how-to says it prints, in this order; what it leaves out is left out.
        exit_code: How it is shown to end.
    """

    text: str
    shown: tuple[str, ...] = ()
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the reader is told to write."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    lines: tuple[str, ...]
    above: str
    comments: tuple[str, ...]


def steps_of(name: str) -> Iterator[Command | NamedFile]:
    """What the reader of a how-to does, top to bottom."""
    for block in _blocks((HOW_TO / f"{name}.md").read_text(encoding="utf-8").splitlines()):
        if any(comment.startswith("not run") for comment in block.comments):
            continue
        for comment in block.comments:
            if comment.startswith("before: "):
                yield Command(comment.removeprefix("before: "))
        yield from _steps(block)


def missing(command: Command, printed: str) -> list[str]:
    """Lines that were shown and not printed, or not in that order; numbers, digests and times may be others."""
    left = [_same(line) for line in printed.splitlines()]
    lost = []
    for line in command.shown:
        if line.strip() == ELLIPSIS:
            continue
        if (same := _same(line)) in left:
            left = left[left.index(same) + 1 :]
        else:
            lost.append(line)
    return lost


def _same(line: str) -> str:
    for pattern, put in _SAME:
        line = pattern.sub(put, line)
    return line.strip()


def _steps(block: _Block) -> Iterator[Command | NamedFile]:
    named = _NAMED_FILE.search(block.above)
    code = next((int(comment.split()[-1]) for comment in block.comments if comment.startswith("exit")), 0)
    match block.language:
        case "json" if named is not None:
            yield NamedFile(named[1], "\n".join(block.lines))
        case "bash":
            yield Command("set -e\n" + "\n".join(block.lines), exit_code=code)
        case "python":
            script = "\n".join(block.lines)
            yield Command(f"python - <<'END_OF_SCRIPT'\n{script}\nEND_OF_SCRIPT", exit_code=code)
        case "console":
            yield from _pasted(block.lines, code)


def _pasted(lines: Sequence[str], code: int) -> Iterator[Command]:
    starts = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        shown = tuple(line for line in lines[start + 1 : end] if line)
        yield Command(lines[start].removeprefix("$ "), shown, code if start == starts[-1] else 0)


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    above, comments, place = "", [], 0
    while place < len(lines):
        line = lines[place]
        if (fence := _FENCE.fullmatch(line)) is not None:
            end = next(i for i in range(place + 1, len(lines)) if lines[i].strip() == "```")
            body = textwrap.dedent("\n".join(lines[place + 1 : end])).splitlines()
            yield _Block(fence[2], tuple(body), above, tuple(comments))
            above, comments, place = "", [], end
        elif found := _COMMENT.findall(line):
            comments += found
        elif line.strip():
            above, comments = line, []
        place += 1
