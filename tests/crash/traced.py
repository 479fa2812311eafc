"""The child that is traced: one scenario, recorded; between two marks, so that strace's log has the same part.

python -m tests.crash.traced SCENARIO FOLDER
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.crash.recorder import Operation, Recorder
from tests.crash.scenarios import all_scenarios

CALLS = (
    "openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,rename,renameat,"
    "renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat,copy_file_range,sendfile,splice,io_uring_enter"
)
"""Everything that changes files or makes changes durable, but for memory maps."""

_LINE = re.compile(r"^(?:\d+ +)?(?P<call>\w+)\((?P<rest>.*)\) += (?P<result>-?\d+)")
_DESCRIPTOR = re.compile(r"^\d+<(?P<path>[^>]*)>")
_PATHS = re.compile(r'"(?P<path>[^"]*)"')


def asked(operations: list[Operation]) -> list[tuple[str, str, int]]:
    """Recorded operations as the log has them: kind, path, and bytes written or size."""
    return [(item.kind, item.path, len(item.data) or item.size_bytes) for item in operations]


def issued(log: str, folder: Path) -> list[tuple[str, str, int]]:
    """What strace saw of a folder, from one mark to the other."""
    found: list[tuple[str, str, int]] = []
    seen: set[str] = set()
    between = log.partition(f'"{folder}.begin"')[2].partition(f'"{folder}.end"')[0]
    for line in between.splitlines():
        match = _LINE.match(line)
        if match is None or match["result"].startswith("-"):
            continue
        call, rest, result = match["call"], match["rest"], int(match["result"])
        described = _DESCRIPTOR.match(rest)
        path = described["path"] if described else next(iter(_PATHS.findall(rest)), "")
        if call in ("copy_file_range", "sendfile"):
            targets = re.findall(r"\d+<([^>]*)>", rest)
            path = targets[1] if call == "copy_file_range" else targets[0]
        if not Path(path).is_relative_to(folder):
            continue
        name = str(Path(path).relative_to(folder))
        if call == "openat":
            if "O_CREAT" in rest and name not in seen:
                found.append(("create", name, 0))
            seen.add(name)
            continue
        kind = {"fsync": "sync", "fdatasync": "sync", "ftruncate": "resize"}.get(call, call.removesuffix("at"))
        if call in ("write", "pwrite64", "copy_file_range", "sendfile"):
            kind = "write"
        size = result if kind == "write" else int(rest.rpartition(",")[2]) if kind == "resize" else 0
        if (kind, size) != ("write", 0):
            found.append((kind, name, size))
    return found


def trace(number: int, folder: Path) -> list[Operation]:
    """Run a scenario between the marks."""
    scenario, _ = all_scenarios()[number]
    folder.mkdir()
    scenario.prepare(folder)
    with Recorder(folder) as recorder:
        folder.with_suffix(".begin").mkdir()
        scenario.run(folder)
        folder.with_suffix(".end").mkdir()
    return recorder.operations


if __name__ == "__main__":
    for item in asked(trace(int(sys.argv[1]), Path(sys.argv[2]))):
        sys.stdout.write(f"{item!r}\n")
