"""The only code that touches the outside world, one file per outside thing."""

import os

# The engine's wheel can report to its maker; models and their use are nobody else's business unless a person says so.
# Set before any module here imports the engine, and handed on to children.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
