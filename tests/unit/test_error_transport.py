"""Errors that cross a process: what arrives is what left."""

from __future__ import annotations

import pytest

from hyperion import errors
from hyperion.errors import ConfigError, EngineError, HyperionError, Problem, error_from


@pytest.mark.parametrize(
    "error",
    [
        EngineError("boom", code="engine.crashed", hint="look", entry="architecture.json", expected=1, actual="x"),
        ConfigError("wrong", problems=[Problem("serve.port", "too large")], hint="fix it"),
        HyperionError("plain"),
    ],
)
def test_class_code_and_details_survive(error: HyperionError) -> None:
    arrived = error_from(type(error).__name__, error.details())

    assert type(arrived) is type(error)
    assert arrived.details() == error.details()
    assert str(arrived) == str(error)


@pytest.mark.parametrize("name", ["SystemExit", "Problem", "annotations", "NoSuchError"])
def test_names_that_are_no_errors_of_ours_give_the_root(name: str) -> None:
    assert type(error_from(name, {"message": "m"})) is HyperionError


def test_every_class_can_be_made_again() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HyperionError)]

    assert all(type(error_from(kind.__name__, kind("m").details())) is kind for kind in found)
