"""``hyperion platform probe``."""

from __future__ import annotations
