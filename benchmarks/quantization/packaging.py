"""Memory of packaging a 2 GB model, every process of the run together."""

from __future__ import annotations

from benchmarks.measure import Figure, Result
from benchmarks.quantization import memory
from benchmarks.quantization.bench import Bench

COMMAND = "python -m benchmarks.quantization --only packaging"
SIZE_BYTES = 2_000_000_000
LIMIT_MB = 400.0
MB = 1e6


def measure(bench: Bench) -> Result:
    """Each scheme once, in a fresh process."""
    model = memory.write_model(bench.folder / "large", SIZE_BYTES)
    figures = []
    for scheme in ("auto", "int8", "w4", "w8"):
        found = memory.measure(SIZE_BYTES, scheme, model)
        above, package, before = (
            int(str(found[key])) for key in ("above_import_bytes", "package_bytes", "model_bytes")
        )
        note = f"As {found['scheme']}, in {found['seconds']} s; the package takes {package / before:.2f} of the model."
        title = f"{before / 1e9:.1f} GB packaged as {scheme}: anonymous memory above import"
        figures.append(Figure(title, "MB", above / MB, (above / MB,) * 2, limit=LIMIT_MB, note=note))
    what = "Largest RssAnon of all processes together, sampled every 2 ms; the float reference runs in it"
    return Result("packaging", what, COMMAND, tuple(figures))
