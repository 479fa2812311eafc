"""The trust policy: who may sign what this host serves; deploy and rollback keep to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.stage import Stage
from tests.packages import entries, write_directory, write_package

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.bootstrap import trust_policy
from hyperion.cli.render import make_console
from hyperion.cli.render_deployment import show_deployed
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import ConfigError, HostError, NotFoundError
from hyperion.format.signing_key import SigningKey
from hyperion.usecases.deploy import DeployResult, deploy_model
from hyperion.usecases.sign import sign_package
from hyperion.usecases.trust import load_trust
from hyperion.verification.signing import check_signing, check_trust

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
PEM = KEY.public.pem.decode()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def set_policy(stage: Stage, **models: Any) -> Path:
    path: Path = stage.host.state_dir / "trust.json"
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_text(json.dumps({"models": models}))
    return path


def deploy(stage: Stage, key: SigningKey | None = None, seed: int = 0, version: str = "1.0.0") -> DeployResult:
    path = stage.package(seed, version=version)
    if key is not None:
        sign_package(stage.host, path, key)
    return deploy_model(stage.host, path, DeploymentConfig(), stage.reporter)


def item(result: DeployResult) -> Finding:
    (found,) = (finding for finding in result.checklist.findings if finding.check == "plan.signing")
    return found


RULE = {"require": True, "keys": [PEM]}


@pytest.mark.parametrize(
    ("models", "key", "outcome", "said"),
    [
        ({"tiny": RULE}, KEY, Outcome.PASSED, "signed by tiny.keys[0]"),
        ({"tiny": RULE}, OTHER, Outcome.FAILED, "which is not trusted"),
        ({"tiny": RULE}, None, Outcome.FAILED, "the package is not signed"),
        ({"tiny": {"keys": [PEM]}}, None, Outcome.FAILED, "the package is not signed"),
        ({"*": RULE}, KEY, Outcome.PASSED, "signed by *.keys[0]"),
        ({"tiny": RULE, "*": {"require": False}}, None, Outcome.FAILED, "the package is not signed"),
        ({"other": RULE}, KEY, Outcome.FAILED, "the trust policy has no rule for tiny"),
        ({}, KEY, Outcome.FAILED, "the trust policy has no rule for tiny"),
        ({"tiny": {"require": True}}, KEY, Outcome.FAILED, "nobody may sign tiny"),
        ({"tiny": {"require": False}}, None, Outcome.SKIPPED, "not signed"),
        ({"tiny": {"require": False}}, OTHER, Outcome.SKIPPED, "by its own account"),
        ({"tiny": {"require": False, "keys": [PEM]}}, None, Outcome.WARNED, "the package is not signed"),
        ({"tiny": {"require": False, "keys": [PEM]}}, OTHER, Outcome.WARNED, "which is not trusted"),
        ({"tiny": {"require": False, "keys": [PEM]}}, KEY, Outcome.PASSED, "signed by tiny.keys[0]"),
    ],
)
def test_a_rule_decides(
    stage: Stage, models: dict[str, Any], key: SigningKey | None, outcome: Outcome, said: str
) -> None:
    set_policy(stage, **models)

    result = deploy(stage, key)

    assert item(result).outcome is outcome
    assert said in item(result).summary
    assert result.allowed is (outcome is not Outcome.FAILED)
    assert result.promoted is result.allowed


def test_a_denied_package_leaves_no_trace_but_its_checklist(stage: Stage) -> None:
    set_policy(stage, tiny=RULE)

    result = deploy(stage)

    assert (result.revision, result.denied_by[0].check) == (None, "plan.signing")
    assert result.denied_by[0].hint == "have it signed: 'hyperion sign F --key K'"
    assert stage.ledger.deployments() == ()
    assert not stage.store.has(result.digest)


@pytest.mark.parametrize("key", [None, KEY])
def test_without_a_policy_nobody_is_asked(stage: Stage, key: SigningKey | None) -> None:
    result = deploy(stage, key)

    assert (result.allowed, item(result).outcome) == (True, Outcome.SKIPPED)


def test_a_false_signing_is_denied_though_no_policy_asks(stage: Stage) -> None:
    path = write_directory(stage.folder / "tiny")
    other = write_directory(stage.folder / "other", entries(1))
    sign_package(stage.host, other, KEY)
    (path / "model.sig").write_bytes((other / "model.sig").read_bytes())

    result = deploy_model(stage.host, path, DeploymentConfig(), stage.reporter)

    assert (result.allowed, item(result).summary) == (False, "what was signed is another package")


def test_of_a_denied_deploy_nothing_is_called_allowed(stage: Stage) -> None:
    set_policy(stage, tiny=RULE)
    result = deploy(stage)
    warning = result.checklist.findings[0].model_copy(update={"outcome": Outcome.WARNED, "check": "plan.rollback"})
    page = StringIO()

    show_deployed(make_console(page), result.model_copy(update={"warnings": (warning,)}))

    last = page.getvalue().splitlines()[-2:]
    assert last[0] == "also look at: plan.rollback"
    assert last[1].startswith("denied by plan.signing: nothing has changed")


def test_keys_lie_beside_the_policy(stage: Stage) -> None:
    path = set_policy(stage, tiny={"keys": ["keys/release.pub"]})
    (path.parent / "keys").mkdir()
    (path.parent / "keys" / "release.pub").write_bytes(KEY.public.pem)

    assert deploy(stage, KEY).promoted


def test_the_policy_may_lie_elsewhere(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "corporate.json"
    path.write_text(json.dumps({"models": {"tiny": RULE}}))
    stage.host = replace(stage.host, trust_policy=path)

    assert not deploy(stage).allowed


def test_the_environment_names_the_policy() -> None:
    assert trust_policy({"HYPERION_TRUST_POLICY": "/etc/hyperion/trust.json"}) == Path("/etc/hyperion/trust.json")
    assert trust_policy({}) is None
    assert trust_policy({"HYPERION_TRUST_POLICY": ""}) is None


def test_a_policy_that_was_named_and_is_not_there_stops_every_deploy(stage: Stage, tmp_path: Path) -> None:
    stage.host = replace(stage.host, trust_policy=tmp_path / "absent.json")

    with pytest.raises(NotFoundError) as caught:
        deploy(stage, KEY)

    assert caught.value.code == "trust.not_found"


BROKEN: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "empty": (lambda path: path.write_text(""), ConfigError, "json.invalid"),
    "a list": (lambda path: path.write_text("[]"), ConfigError, "config.invalid"),
    "without models": (lambda path: path.write_text("{}"), ConfigError, "config.invalid"),
    "an unknown key": (lambda path: path.write_text('{"models":{},"requires":true}'), ConfigError, "config.invalid"),
    "a rule twice": (lambda path: path.write_text('{"models":{"*":{},"*":{}}}'), ConfigError, "json.duplicate_key"),
    "a name that is none": (lambda path: path.write_text('{"models":{"Ti*":{}}}'), ConfigError, "config.invalid"),
    "require in words": (
        lambda path: path.write_text('{"models":{"*":{"require":"no"}}}'),
        ConfigError,
        "config.invalid",
    ),
    "a key that is not there": (
        lambda path: path.write_text('{"models":{"*":{"keys":["absent.pub"]}}}'),
        ConfigError,
        "trust.keys",
    ),
    "a key that is none": (
        lambda path: path.write_text('{"models":{"*":{"keys":["-----BEGIN PUBLIC KEY-----"]}}}'),
        ConfigError,
        "trust.keys",
    ),
    "a folder": (lambda path: path.mkdir(), ConfigError, "config.invalid"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), NotFoundError, "trust.not_found"),
    "a loop": (lambda path: path.symlink_to(path), HostError, "config.unreadable"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_policy_stops_every_deploy_before_anything_happens(stage: Stage, name: str) -> None:
    write, kind, code = BROKEN[name]
    path: Path = stage.host.state_dir / "trust.json"
    path.parent.mkdir(mode=0o700)
    write(path)
    package = stage.package()
    sign_package(stage.host, package, KEY)

    with pytest.raises(kind) as caught:
        deploy_model(stage.host, package, DeploymentConfig(), stage.reporter)

    assert caught.value.code == code  # type: ignore[attr-defined]
    if kind is ConfigError:
        assert "sign-your-package" in caught.value.hint  # type: ignore[attr-defined]
    assert stage.ledger.events() == ()
    assert not stage.control.asked


def test_all_wrong_keys_of_a_policy_are_told_at_once(stage: Stage) -> None:
    set_policy(stage, tiny={"keys": ["absent.pub", KEY.to_pem(None).decode()]}, other={"keys": ["gone.pub"]})

    with pytest.raises(ConfigError) as caught:
        load_trust(stage.host)

    assert [problem.path for problem in caught.value.problems] == [
        "models.tiny.keys[0]", "models.tiny.keys[1]", "models.other.keys[0]",
    ]  # fmt: skip
    assert "PRIVATE KEY-----\nM" not in caught.value.message


# --- rollback ---


def test_what_was_served_before_the_policy_came_may_come_back(stage: Stage) -> None:
    deploy(stage)
    stage.backup()
    deploy(stage, seed=1, version="1.1.0")
    set_policy(stage, tiny=RULE)

    result = stage.roll_back()

    assert result.promoted
    assert item(result).outcome is Outcome.WARNED
    assert "this deployment served it before" in (item(result).reason or "")


def test_a_broken_policy_does_not_stop_the_way_back(stage: Stage) -> None:
    deploy(stage)
    stage.backup()
    deploy(stage, seed=1, version="1.1.0")
    set_policy(stage, tiny={"keys": ["absent.pub"]})

    result = stage.roll_back()

    assert result.promoted
    assert (item(result).outcome, item(result).summary) == (Outcome.WARNED, "the trust policy cannot be applied")


def test_a_package_that_is_denied_is_not_even_run(stage: Stage) -> None:
    set_policy(stage, tiny=RULE)

    result = deploy(stage)

    assert stage.sandbox.jobs == []
    assert not [finding for finding in result.checklist.findings if finding.check.startswith("model.")]


def test_a_backup_that_was_never_served_here_cannot_slip_in_by_a_rollback(tmp_path: Path) -> None:
    for name in ("elsewhere", "here"):
        (tmp_path / name).mkdir()
    elsewhere, stage = Stage(tmp_path / "elsewhere"), Stage(tmp_path / "here")
    deploy(elsewhere, seed=1)
    elsewhere.backup()
    deploy(stage)
    set_policy(stage, tiny=RULE)
    (elsewhere.folder / "backup").rename(stage.folder / "backup")

    result = stage.roll_back()

    assert (result.allowed, [finding.check for finding in result.denied_by]) == (False, ["plan.signing"])


def test_a_signed_backup_from_elsewhere_is_let_in(tmp_path: Path) -> None:
    for name in ("elsewhere", "here"):
        (tmp_path / name).mkdir()
    elsewhere, stage = Stage(tmp_path / "elsewhere"), Stage(tmp_path / "here")
    deploy(elsewhere, KEY, seed=1)
    elsewhere.backup()
    deploy(stage, KEY)
    set_policy(stage, tiny=RULE)
    (elsewhere.folder / "backup").rename(stage.folder / "backup")

    assert stage.roll_back().promoted


# --- what a package's signing shows ---


def write_signed(folder: Path, change: Callable[[bytes], bytes] = lambda raw: raw) -> Path:
    path = write_directory(folder / "tiny")
    stage = Stage(folder)
    sign_package(stage.host, path, KEY)
    (path / "model.sig").write_bytes(change((path / "model.sig").read_bytes()))
    return path


def signing_findings(path: Path, *keys: SigningKey) -> dict[str, tuple[Outcome, str]]:
    with LocalPackages().open(path) as package:
        found = check_signing(package, [key.public for key in keys])
    return {finding.check: (finding.outcome, f"{finding.summary}: {finding.reason}") for finding in found}


def test_an_unsigned_package_has_nothing_to_find_where_nobody_asks(tmp_path: Path) -> None:
    assert signing_findings(write_package(tmp_path / "tiny.hyperion")) == {}


def test_a_signer_stays_unproven_without_a_trusted_key(tmp_path: Path) -> None:
    found = signing_findings(write_signed(tmp_path))

    assert found["signing.valid"][0] is Outcome.PASSED
    assert found["signing.trusted"][0] is Outcome.SKIPPED
    assert f"signed by the key {KEY.public.hint[:16]}…, by its own account" in found["signing.trusted"][1]


def test_one_of_several_trusted_keys_is_enough(tmp_path: Path) -> None:
    assert signing_findings(write_signed(tmp_path), OTHER, KEY)["signing.trusted"][0] is Outcome.PASSED


def test_a_signing_that_borrows_a_trusted_name_is_false(tmp_path: Path) -> None:
    path = write_signed(tmp_path, lambda raw: raw.replace(KEY.public.hint.encode(), OTHER.public.hint.encode()))

    found = signing_findings(path, OTHER)

    assert found["signing.valid"][0] is Outcome.FAILED
    assert "which did not sign this: it is forged or damaged" in found["signing.valid"][1]
    assert "signing.trusted" not in found


def test_a_signing_without_a_name_is_tried_with_every_key(tmp_path: Path) -> None:
    path = write_signed(tmp_path, lambda raw: raw.replace(f'"hint":"{KEY.public.hint}"'.encode(), b'"hint":null'))

    assert signing_findings(path, OTHER, KEY)["signing.trusted"][0] is Outcome.PASSED
    assert signing_findings(path, OTHER)["signing.trusted"][0] is Outcome.FAILED


def test_garbage_in_model_sig_fails(tmp_path: Path) -> None:
    found = signing_findings(write_signed(tmp_path, lambda raw: b"\x7fELF" + raw))

    assert found["signing.valid"][0] is Outcome.FAILED
    assert "signing.trusted" not in found


def test_served_before_softens_only_a_denial(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    set_policy(stage, tiny=RULE)
    path = stage.package()
    sign_package(stage.host, path, KEY)

    with LocalPackages().open(path) as package:
        finding = check_trust(package, load_trust(stage.host), served_before=True)

    assert finding.outcome is Outcome.PASSED
