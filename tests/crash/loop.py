"""The child that is killed: one command of Hyperion again and again, a line on stdout after each.

python -m tests.crash.loop pack|update|extract FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

from hyperion.cli.main import run


def command(*words: object) -> Any:
    """Run one command of the real command line within this process; its JSON answer."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*map(str, words), "--json"])
    if code != 0:
        raise SystemExit(f"{words}: {code}: {out.getvalue()}{err.getvalue()}")
    return json.loads(out.getvalue())


def pack(folder: Path, source: str) -> str:
    """Package ``a`` or ``b`` as model.hyperion; its digest."""
    words = ("package", "model", "--input", folder / source, "--output", folder / "model.hyperion")
    return str(command(*words, "--quantize", "none")["digest"])


def packing(folder: Path) -> Iterator[str]:
    for number in count():
        yield pack(folder, "ab"[number % 2])


def updating(folder: Path) -> Iterator[str]:
    while True:
        yield str(command("version", "update", folder / "model.hyperion", "--patch")["version"])


def extracting(folder: Path) -> Iterator[str]:
    for number in count():
        output = folder / f"out{number}"
        command("extract", "model", "--input", folder / "model.hyperion", "--output", output)
        yield output.name


LOOPS = {"pack": packing, "update": updating, "extract": extracting}

if __name__ == "__main__":
    for done in LOOPS[sys.argv[1]](Path(sys.argv[2])):
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
