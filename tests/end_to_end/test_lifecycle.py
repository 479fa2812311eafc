"""The whole way, once: package, verify, back up, deploy, watch, replace, roll back, document, stop."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import Shell, answers, ask, eventually
from tests.models import write_model_dir
from tests.ports import free_port

REASON = "p95 [bold]doubled[/] \x1b[2J<b>"


@pytest.mark.timeout(300)
def test_a_model_goes_the_whole_way_and_back(tmp_path: Path) -> None:
    shell, port = Shell(tmp_path), free_port()
    url = f"http://127.0.0.1:{port}"
    write_config(tmp_path / "deployment.json", name="digits", port=port)
    write_model_dir(tmp_path / "first", seed=3)
    write_model_dir(tmp_path / "second", seed=4)
    shell.ok("package", "model", "--input", "first", "--output", "v1.hyperion")
    shell.ok("package", "model", "--input", "second", "--output", "v2.hyperion", "--parent", "v1.hyperion")
    shell.ok("version", "update", "v2.hyperion", "--minor", "--message", "Retrained")
    try:
        first = shell.json("deploy", "model", "--input", "v1.hyperion", "--config", "deployment.json")
        assert (first["promoted"], first["url"]) == (True, url)
        shell.ok("backup", "model", "--name", "current_model", "--output", "backup/")

        second = shell.ok("deploy", "model", "--input", "v2.hyperion", "--config", "deployment.json")
        assert "active: test-mlp 1.1.0 (revision 2)" in second
        assert version_at(url) == ["1.1.0"]
        shell.ok("verify", "deployment", "--model", "v2.hyperion")

        back = shell.json("rollback", "model", "--backup", "backup/current_model", "--reason", REASON)
        assert (back["promoted"], back["origin"], back["revision"]["number"]) == (True, "rollback", 3)
        assert version_at(url) == ["1.0.0"]
        shell.ok("verify", "deployment", "--model", "backup/current_model")

        record = shell.ok("log", "rollback", "--backup", "backup/current_model", "--reason", "All is well again")
        assert record.startswith("# Rollback of digits")
        assert "All is well again" in record
        assert "\x1b" not in record
        assert "<b>" not in record
        as_json = shell.json("log", "rollback", "--backup", "backup/current_model", "--reason", "Once more")
        assert as_json["reason"] == REASON
        assert len(as_json["notes"]) == 2

        history = shell.ok("history", "digits")
        assert "\x1b" not in history
        assert "[bold]doubled[/]" in history
        assert [line["state"] for line in shell.json("history", "digits")["revisions"]] == [
            "replaced", "replaced", "active",
        ]  # fmt: skip

        forth = shell.json("rollback", "model", "--to", "1.1.0", "--name", "digits", "--reason", "It was the network")
        assert (forth["promoted"], forth["revision"]["number"]) == (True, 4)
        assert version_at(url) == ["1.1.0"]
        assert "ok: 2 passed" in shell.ok("log", "verify", "--against", "backup/current_model")

        assert shell.json("stop", "digits")["names"] == ["digits"]
        eventually(lambda: not answers(url))
        eventually(lambda: shell.status()["supervisor"] is None)
        assert "stopped" in shell.ok("status")
    finally:
        shell("stop", "--all")


def version_at(url: str) -> list[str]:
    found: list[str] = ask(f"{url}/v2/models/digits")["versions"]
    return found
