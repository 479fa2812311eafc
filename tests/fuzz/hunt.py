"""Fuzz one target, guided by coverage: python -m tests.fuzz.hunt TARGET [libFuzzer options and folders].

Started by ``python -m tests.fuzz``, which sees to it that atheris can be imported.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["hyperion", "json"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
