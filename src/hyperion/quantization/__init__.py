"""Quantization schemes and what they cost; no input or output."""
