"""Make tests/golden/format-1.hyperion: a real, signed, quantized package with something in every corner of the format.

Run once for each format version, when it is declared finished; a sample is never made again, for its whole worth is
that later versions read what this one wrote.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.models import write_model_dir  # noqa: E402
from tests.packages import manifest  # noqa: E402

from hyperion.cli.main import run  # noqa: E402
from hyperion.format.archive import PendingEntry, write_archive  # noqa: E402
from hyperion.format.chunk_tree import CHUNKED_ABOVE_BYTES  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"


def hyperion(*words: str | Path) -> None:
    """Run one command, which must succeed."""
    if run([str(word) for word in words]) != 0:
        raise SystemExit(f"failed: hyperion {' '.join(map(str, words))}")


def write_signed_sample(work: Path) -> None:
    """Version 1.2.0 of a model: int8, golden request, assets, configs, parent, history, signing."""
    model = write_model_dir(work / "model", version="1.0.0")
    hyperion("package", "model", "--input", model, "--output", work / "parent.hyperion", "--quantize", "int8")
    (model / "config").mkdir(exist_ok=True)
    (model / "assets").mkdir(exist_ok=True)
    (model / "config" / "optimization.json").write_text(json.dumps({"threads": 1}))
    (model / "assets" / "vocabulary.txt").write_text("eins\nzwei\ndreißig\n")
    output = GOLDEN / "format-1.hyperion"
    hyperion(
        "package", "model", "--input", model, "--output", output, "--quantize", "int8", "--version", "1.1.0",
        "--parent", work / "parent.hyperion", "--author", "The Hyperion authors", "--license", "Apache-2.0",
        "--description", "A sample of format version 1 – read for ever",
    )  # fmt: skip
    hyperion("version", "update", output, "--minor", "--message", "A line of history")
    hyperion("keygen", work / "sample")
    hyperion("sign", output, "--key", work / "sample.key")
    (GOLDEN / "format-1.pub").write_bytes((work / "sample.pub").read_bytes())


def write_chunked_sample() -> None:
    """An entry over 8 MiB, so that there are chunk digests; compressed, since it is mostly zeros."""
    large = bytes(CHUNKED_ABOVE_BYTES) + b"the third chunk"
    entries = {"architecture.json": b"{}", "assets/large.bin": large}
    pending = [PendingEntry(name, len(data), partial(io.BytesIO, data)) for name, data in entries.items()]
    stream = io.BytesIO()
    write_archive(stream, pending, manifest)
    (GOLDEN / "format-1-chunks.hyperion.gz").write_bytes(gzip.compress(stream.getvalue(), 9, mtime=0))


if __name__ == "__main__":
    os.environ["SOURCE_DATE_EPOCH"] = "1795305600"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYPERION_HOME"] = str(Path(folder, "home"))
        write_signed_sample(Path(folder))
    write_chunked_sample()
