"""The .hyperion file: bytes ↔ domain, on streams."""
