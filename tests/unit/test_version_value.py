from __future__ import annotations

import pytest

from hyperion.domain.version import MAX_LENGTH, Step, Version
from hyperion.errors import ConfigError


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        ("1.2.3", Step.PATCH, "1.2.4"),
        ("1.2.3", Step.MINOR, "1.3.0"),
        ("1.2.3", Step.MAJOR, "2.0.0"),
        ("1.2.3+build.5", Step.PATCH, "1.2.4"),
        ("2.0.0-rc.1", Step.MAJOR, "2.0.0"),
    ],
)
def test_a_step_gives_the_next_version(before: str, step: Step, after: str) -> None:
    assert str(Version.parse(before).bump(step)) == after


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 ", "1.0.0\n", "１.0.0"]
)
def test_what_is_not_semver_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Version.parse(text)

    assert caught.value.code == "version.invalid"
    assert "MAJOR.MINOR.PATCH" in (caught.value.hint or "")


def test_a_version_has_a_maximum_length() -> None:
    with pytest.raises(ConfigError):
        Version.parse("1.0." + "9" * MAX_LENGTH)


def test_build_metadata_does_not_count_for_precedence_but_orders_what_is_otherwise_equal() -> None:
    one, two = Version.parse("1.0.0+a"), Version.parse("1.0.0+b")

    assert not one.precedes(two)
    assert not two.precedes(one)
    assert one < two
    assert one != two
