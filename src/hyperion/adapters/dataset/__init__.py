"""Labelled and unlabelled data, from folders, tables and arrays."""
