"""The supervisor stays small: it loads neither numpy nor an engine, and a model can never take it down."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import hyperion.serving.supervisor
import hyperion.bootstrap
from hyperion.adapters.service import control_client, worker_processes
from hyperion.adapters.host import host_facts
from hyperion.adapters.store import ledger, local_store
from hyperion.adapters.files import package_files
print(sorted({"numpy", "onnx", "onnxruntime", "uvicorn", "httpx", "sklearn", "tokenizers"} & set(sys.modules)))
"""


def test_the_supervisor_imports_no_numpy_engine_or_web_server() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
