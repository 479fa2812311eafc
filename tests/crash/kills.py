"""kill -9 in the middle of packing, updating and extracting: what the process leaves is old or new, or says how."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import MANIFEST
from hyperion.errors import MalformedPackageError
from hyperion.format.package import PackageReader
from hyperion.usecases.version import recover_version
from tests.crash.loop import pack
from tests.crash.scenario import NAME, LostError
from tests.models import mlp, write_model_dir
from tests.packages import write_package
from tests.partial_host import files_host

ROOT = Path(__file__).parents[2]
LONGEST_S = {"pack": 0.6, "update": 0.06, "extract": 0.12}
"""About three rounds of each loop, so that a kill comes at any moment of one."""


def kills(kind: str, folder: Path, rng: random.Random, count: int) -> Iterator[str]:
    """Kill a loop ``count`` times; the state after each.

    Args:
        kind: pack, update or extract.
        folder: Empty; it is worked in.
        rng: Decides the moments.
        count: How often.

    Raises:
        LostError: What was left is neither old nor new.
    """
    digests = _prepare(kind, folder)
    for _ in range(count):
        lines = _killed(kind, folder, rng.uniform(0, LONGEST_S[kind]))
        yield _judge(kind, folder, lines, digests)


def _prepare(kind: str, folder: Path) -> frozenset[str]:
    """What the loop works on; the digests that a packed file may have."""
    folder.mkdir()
    if kind == "update":
        write_package(folder / NAME)
        return frozenset()
    for seed, name in enumerate("ab"):
        write_model_dir(folder / name, model=mlp(seed, hidden=10_000))
    return frozenset(pack(folder, name) for name in "ab")


def _killed(kind: str, folder: Path, delay_s: float) -> list[str]:
    """Start a loop, kill it a while after its first round; what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.loop", kind, folder],
        cwd=ROOT, env={**os.environ, "HYPERION_HOME": str(folder / "home")}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=delay_s)
    process.send_signal(signal.SIGKILL)
    rest, said = process.communicate(timeout=60)
    if process.returncode != -signal.SIGKILL:
        raise LostError(f"{kind}: the loop ended by itself: {first}{rest}{said}")
    return [line for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def _judge(kind: str, folder: Path, lines: list[str], digests: frozenset[str]) -> str:
    if kind == "extract":
        return _judge_extracted(folder, len(lines))
    state = "whole"
    try:
        LocalPackages().open(folder / NAME).close()
    except MalformedPackageError as refused:
        if refused.code != "package.update_interrupted":
            raise LostError(f"{kind}: {refused}") from refused
        state = f"recovered: {recover_version(files_host(folder), folder / NAME).repair}"
    with LocalPackages().open(folder / NAME) as package:
        _require_whole(package)
        if kind == "pack" and package.digest not in digests:
            raise LostError(f"{kind}: the package is another one: {package.digest}")
        if kind == "update":
            found = int(package.manifest.version.rpartition(".")[2])
            last = int(lines[-1].strip().rpartition(".")[2])
            if found not in (last, last + 1) or len(package.manifest.history) != found:
                raise LostError(f"{kind}: 1.0.{last} was reported, 1.0.{found} found")
    return state if not list(folder.glob(".*.tmp-*")) else f"{state}, with a temporary beside it"


def _judge_extracted(folder: Path, reported: int) -> str:
    outputs = sorted(folder.glob("out*"))
    for output in outputs:
        with LocalPackages().open(output) as package:
            _require_whole(package)
            present = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
            if present != {*package.names(), MANIFEST}:
                raise LostError(f"extract: {output} holds {present}")
    if len(outputs) not in (reported, reported + 1):
        raise LostError(f"extract: {reported} reported, {len(outputs)} found")
    left = list(folder.glob(".out*"))
    for path in (*outputs, *left):
        shutil.rmtree(path)
    return "whole or absent" if not left else "whole or absent, with a temporary beside it"


def _require_whole(package: PackageReader) -> None:
    for name in package.names():
        package.read(name)
