"""The engine sends nothing home from any process of Hyperion."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("0", "0")])
def test_telemetry_is_off_before_the_engine_is_imported_unless_a_person_chose(given: str | None, found: str) -> None:
    script = (
        "import os, sys\n"
        "import hyperion.adapters.engine.session\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {} if given is None else {"ORT_DISABLE_TELEMETRY": given}

    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == found
