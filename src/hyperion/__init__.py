"""Hyperion: from a trained model to a verified, monitored, reversible production service."""

from __future__ import annotations

__version__ = "0.1.0"
