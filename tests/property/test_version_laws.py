"""The ordering rules of SemVer 2.0.0, section 11, one class a rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hyperion.domain.version import Step, Version

numbers = st.integers(0, 10**6)
cores = st.tuples(numbers, numbers, numbers)
alphanumeric = st.from_regex(r"[0-9]{0,5}[A-Za-z-][0-9A-Za-z-]{0,5}", fullmatch=True)
identifiers = st.lists(st.one_of(numbers.map(str), alphanumeric), min_size=1, max_size=4).map(".".join)
suffixes = st.one_of(st.just(""), identifiers.map(lambda text: "-" + text))
builds = st.one_of(st.just(""), st.from_regex(r"\+[0-9A-Za-z-]{1,8}", fullmatch=True))
texts = st.builds(lambda core, pre, build: ".".join(map(str, core)) + pre + build, cores, suffixes, builds)
versions = texts.map(Version.parse)


class TestNotation:
    """Reading what was written gives the same version."""

    @given(texts)
    def test_parse_then_str_is_identity(self, text: str) -> None:
        assert str(Version.parse(text)) == text


class TestPrecedence:
    """Precedence is calculated by comparing major, minor and patch numerically, in this order."""

    @given(cores, cores)
    def test_release_order_is_numeric(self, one: tuple[int, int, int], two: tuple[int, int, int]) -> None:
        a, b = (Version.parse(".".join(map(str, core))) for core in (one, two))
        assert a.precedes(b) == (one < two)

    @given(cores, identifiers)
    def test_a_pre_release_precedes_its_release(self, core: tuple[int, int, int], pre: str) -> None:
        release = ".".join(map(str, core))
        assert Version.parse(f"{release}-{pre}").precedes(Version.parse(release))

    @given(versions, versions, versions)
    def test_the_order_is_total_and_transitive(self, a: Version, b: Version, c: Version) -> None:
        assert (a < b) + (b < a) + (a == b) == 1
        if a < b and b < c:
            assert a < c


class TestSteps:
    """A step always leads to a later version without suffixes."""

    @given(versions, st.sampled_from(Step))
    def test_a_bump_comes_after(self, version: Version, step: Step) -> None:
        bumped = version.bump(step)
        assert version.precedes(bumped)
        assert bumped.prerelease is None
        assert bumped.build is None
