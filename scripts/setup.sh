#!/usr/bin/env bash
# Make the virtual environment with the locked dependencies. Called by the Makefile.
set -euo pipefail
python=${PYTHON:-python3}
venv=${VENV:-.venv}

"$python" - <<'PY' || { echo "Hyperion needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

if [ ! -x "$venv/bin/python" ]; then
    echo "making $venv"
    if ! "$python" -m venv "$venv" 2>/dev/null; then
        # python3-venv is missing (Debian splits it off): virtualenv does the same from a plain folder.
        rm -rf "$venv"
        "$python" -m pip install --quiet --target .tools virtualenv
        PYTHONPATH=.tools "$python" -m virtualenv --quiet "$venv"
    fi
fi
echo "installing the locked dependencies"
"$venv/bin/python" -m pip install --quiet --require-hashes --requirement requirements.lock
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
