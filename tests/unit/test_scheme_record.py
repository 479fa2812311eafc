"""Schemes: targets, figures that never flatter."""

from __future__ import annotations

import pytest

from hyperion.domain.platform import PlatformProfile
from hyperion.domain.scheme import Agreement, TargetPlatform, rounded


@pytest.mark.parametrize(
    ("name", "has_vnni"),
    [
        ("linux/amd64", False),
        ("linux/amd64+avx2", False),
        ("linux/amd64+avx512_vnni", True),
        ("linux/amd64+avx-vnni", True),
        ("linux/arm64+asimddp", True),
    ],
)
def test_only_a_named_feature_gives_the_full_range(name: str, has_vnni: bool) -> None:
    assert TargetPlatform.parse(name) == TargetPlatform(name, has_vnni)


def test_a_profile_gives_the_full_range_where_its_cpu_has_vnni() -> None:
    profile = PlatformProfile(os="linux", architecture="amd64", cpu_features=("avx2", "avx512_vnni"))

    assert TargetPlatform.of_profile(profile) == TargetPlatform("linux/amd64", has_vnni=True)


def test_figures_are_rounded_down() -> None:
    assert rounded(0.98999) == 0.9899
    assert rounded(0.99) == 0.99
    assert rounded(1.0) == 1.0


def test_agreement_holds_from_the_threshold_on() -> None:
    at = Agreement(measure="top1", value=0.99, output="y", rows=100, golden_rows=0)

    assert at.holds
    assert not at.model_copy(update={"value": 0.9899}).holds
