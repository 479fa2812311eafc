"""Ratios against a named reference, measured in the same run: ``make bench`` or ``python -m benchmarks.NAME``."""
