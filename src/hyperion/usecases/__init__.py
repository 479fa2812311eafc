"""One module per verb, readable top to bottom."""
