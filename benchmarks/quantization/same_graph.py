"""A process that runs one graph two ways, in turns, and prints our shortest run over ONNX Runtime's.

    python -m benchmarks.quantization.same_graph INPUTS FIRST '{"plain": […], "package": […]}'

Which of the two is loaded FIRST matters: where its weights come to lie in memory decides up to a tenth of the time.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks.quantization.load_child import WAYS

ROUNDS = 60


def main(inputs: str, first: str, arguments: str) -> None:
    with np.load(inputs) as stored:
        feeds = dict(stored)
    found: dict[str, list[str]] = json.loads(arguments)
    order = sorted(found, key=lambda way: way != first)
    ways = {way: WAYS[way](*found[way])() for way in order}
    shortest = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for way, run in ways.items():
            started = time.perf_counter()
            run(feeds)
            shortest[way] = min(shortest[way], time.perf_counter() - started)
    print(json.dumps({"ratio": shortest["package"] / shortest["plain"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
