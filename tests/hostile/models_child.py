"""Take hostile models through the command line in this very process, which must survive all of them.

python -m tests.hostile.models_child PLAN RESULTS: PLAN is a JSON list of {"name", "folder", "package"}: the folder is
packaged (or, with ``package``, verified as it is); a line of RESULTS says what came of each. What takes time is given
less of it here than people get, so that a loop of 2^40 turns is cut short.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

TIMEOUT_S = 8.0


def main() -> None:
    from hyperion.usecases import source_trial
    from hyperion.verification import model

    source_trial.TIMEOUT_S = TIMEOUT_S
    model.sandbox_limits.__defaults__ = (TIMEOUT_S,)
    plan, results = sys.argv[1:]
    with Path(results).open("a", encoding="utf-8") as out:
        for case in json.loads(Path(plan).read_text(encoding="utf-8")):
            folder = Path(case["folder"])
            packaged = folder.with_suffix(".hyperion")
            if case["package"]:
                runs = [_run(["verify", "model", "--input", str(folder), "--json"])]
            else:
                runs = [_run(["package", "model", "--input", str(folder), "--output", str(packaged), "--json"])]
                if runs[0]["code"] == 0:
                    runs.append(_run(["verify", "model", "--input", str(packaged), "--json"]))
            left = [path.name for path in folder.parent.glob(f".{packaged.name}*")] + (
                [packaged.name] if packaged.exists() and runs[0]["code"] != 0 else []
            )
            line = {"name": case["name"], "runs": runs, "left": left, "peaks": _peaks()}
            out.write(json.dumps(line) + "\n")
            out.flush()


def _run(words: list[str]) -> dict[str, Any]:
    from hyperion.cli.main import run

    began = time.monotonic()
    answer, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(answer), redirect_stderr(errors):
        code = run(words)
    said = answer.getvalue()
    try:
        error = json.loads(said).get("error", {}) if said else {}
    except json.JSONDecodeError:
        error = {"code": "not JSON", "message": said[-500:]}
    return {
        "command": " ".join(words[:2]), "code": code, "error": error.get("code"), "message": error.get("message"),
        "duration_s": time.monotonic() - began, "errors": errors.getvalue()[-2000:],
    }  # fmt: skip


def _peaks() -> dict[str, int]:
    """Most memory of this process and of its largest child so far, in bytes."""
    kinds = {"own": resource.RUSAGE_SELF, "child": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(kind).ru_maxrss * 1024 for name, kind in kinds.items()}


if __name__ == "__main__":
    main()
