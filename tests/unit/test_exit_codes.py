"""Every error has its documented exit code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hyperion import errors
from hyperion.cli.exit_codes import BUG, ERROR_CODES, MEANINGS, exit_code


def every_class(kind: type[errors.HyperionError] = errors.HyperionError) -> Iterator[type[errors.HyperionError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("hyperion."):
            yield child
            yield from every_class(child)


LEAVES = sorted((kind for kind in every_class() if not kind.__subclasses__()), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_of_the_error_tree_has_a_documented_exit_code(leaf: type[errors.HyperionError]) -> None:
    code = exit_code(leaf("it failed"))

    assert code != BUG
    assert code in MEANINGS


def test_the_table_names_only_classes_of_the_tree() -> None:
    assert set(ERROR_CODES) <= set(every_class())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DigestMismatchError("x"), 3),
        (errors.ModelSourceError("x"), 3),
        (errors.IncompatibleError("x"), 4),
        (errors.ConfigError("x"), 2),
        (errors.NotFoundError("x"), 5),
        (errors.ConflictError("x"), 6),
        (errors.RolloutAbortedError("x"), 7),
        (errors.RegistryError("x"), 8),
        (errors.BudgetError("x"), 1),
        (errors.EngineError("x"), 9),
        (errors.HostError("x"), 9),
    ],
)
def test_the_codes_are_those_of_the_architecture(error: errors.HyperionError, code: int) -> None:
    assert exit_code(error) == code


def test_for_verify_a_broken_package_is_the_answer_no() -> None:
    broken = errors.DigestMismatchError("x")

    assert exit_code(broken, "verify") == 1
    assert exit_code(broken, "deploy") == 3


def test_verify_that_cannot_answer_keeps_its_code() -> None:
    assert exit_code(errors.NotFoundError("x"), "verify") == 5


def test_an_error_outside_the_table_is_a_bug() -> None:
    assert exit_code(errors.HyperionError("x")) == BUG
