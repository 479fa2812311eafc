"""The package format against its references: the figures that a release must reach (``make bench-format``)."""
