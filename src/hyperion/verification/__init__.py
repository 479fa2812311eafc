"""One check per module: measurement → Finding."""
