"""Which deployment a monitor watches: the one that serves the package, or that served it before."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.checks_host import activate, checks_host
from tests.fakes.reporter import CollectingReporter
from tests.models import write_model_dir
from tests.packaging import pack

from hyperion.errors import ConflictError, NotFoundError
from hyperion.ports import Host
from hyperion.usecases.monitor import served_revision


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path)


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    """Two versions of a model."""
    for version in ("1.0.0", "1.1.0"):
        write_model_dir(tmp_path / version, version=version)
        pack(tmp_path / version, tmp_path / f"{version}.hyperion", "none")
    return tmp_path / "1.0.0.hyperion", tmp_path / "1.1.0.hyperion"


def test_after_a_rollback_the_replaced_package_still_finds_its_deployment(
    host: Host, packages: tuple[Path, Path]
) -> None:
    old, new = packages
    activate(host, old)
    activate(host, new)
    back = activate(host, old)
    reporter = CollectingReporter()

    assert served_revision(host, new, None, reporter) == back

    (warning,) = reporter.warnings
    for words in (str(new), "not what 'shop' serves now", f"revision {back.number}, test-mlp 1.0.0"):
        assert words in warning


def test_the_active_package_is_watched_without_a_warning(host: Host, packages: tuple[Path, Path]) -> None:
    old, new = packages
    activate(host, old)
    activate(host, new)
    reporter = CollectingReporter()

    served_revision(host, new, None, reporter)

    assert reporter.warnings == []


def test_a_deployment_that_serves_it_now_comes_before_one_that_did(host: Host, packages: tuple[Path, Path]) -> None:
    old, new = packages
    activate(host, old, "shop")
    activate(host, new, "shop")
    serving = activate(host, old, "attic")

    assert served_revision(host, old, None, CollectingReporter()) == serving


def test_several_that_served_it_before_ask_for_a_name(host: Host, packages: tuple[Path, Path]) -> None:
    old, new = packages
    for name in ("shop", "attic"):
        activate(host, old, name)
        activate(host, new, name)

    with pytest.raises(ConflictError):
        served_revision(host, old, None, CollectingReporter())
    assert served_revision(host, old, "attic", CollectingReporter()).deployment == "attic"


def test_a_package_that_was_never_deployed_is_not_found(host: Host, packages: tuple[Path, Path]) -> None:
    activate(host, packages[0])

    with pytest.raises(NotFoundError) as refusal:
        served_revision(host, packages[1], None, CollectingReporter())

    assert refusal.value.code == "deployment.package_not_active"
