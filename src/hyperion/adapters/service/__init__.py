"""The supervisor, its workers and their answers, from outside."""
