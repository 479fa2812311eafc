"""A host that demands signed packages, from the key to the backup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import Shell
from tests.models import write_model_dir
from tests.ports import free_port

PASSPHRASE = {"HYPERION_KEY_PASSPHRASE": "correct horse"}


@pytest.mark.timeout(300)
def test_a_host_with_a_trust_policy_serves_what_is_rightly_signed_alone(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    write_config(tmp_path / "deployment.json", name="digits", port=free_port())
    write_model_dir(tmp_path / "model_dir", seed=3)
    shell.ok("package", "model", "--input", "model_dir", "--output", "model.hyperion")
    assert shell("keygen", "release", "--encrypt", **PASSPHRASE).returncode == 0
    (tmp_path / "trust.json").write_text(json.dumps({"models": {"test-mlp": {"keys": ["release.pub"]}}}))
    shell.variables["HYPERION_TRUST_POLICY"] = str(tmp_path / "trust.json")
    deploy = ("deploy", "model", "--input", "model.hyperion", "--config", "deployment.json")
    try:
        unsigned = shell.json(*deploy, code=1)
        assert shell("sign", "model.hyperion", "--key", "release.key", **PASSPHRASE).returncode == 0
        signed = shell.json(*deploy)
        shell.ok("backup", "model", "--name", "digits", "--output", "backup")
        backup = shell.json("verify", "model", "--input", "backup/digits", "--trust", "release.pub")
    finally:
        shell("stop", "--all")

    assert [finding["check"] for finding in unsigned["denied_by"]] == ["plan.signing"]
    assert (signed["promoted"], signed["revision"]["number"]) == (True, 1)
    assert "passed" in {f["outcome"] for f in backup["findings"] if f["check"] == "signing.trusted"}
