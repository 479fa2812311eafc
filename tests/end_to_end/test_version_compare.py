"""`version compare` as a user calls it, and the deploy gate that goes by the same rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import Shell, refused
from tests.models import mlp, write_dataset, write_model_dir
from tests.ports import free_port


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with a.hyperion 1.0.0, b.hyperion 1.0.1 with other weights, and c.hyperion 1.0.2 with another input."""
    shell = Shell(tmp_path_factory.mktemp("versions"))
    renamed = mlp(0)
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "features"
    write_model_dir(shell.folder / "a")
    write_model_dir(shell.folder / "b", seed=1, version="1.0.1")
    write_model_dir(shell.folder / "c", model=renamed, version="1.0.2", golden=False)
    write_dataset(shell.folder / "data")
    for name in "abc":
        shell.made("package", "model", "--input", name, "--output", f"{name}.hyperion", "--quantize", "none")
    yield shell
    shell("stop", "--all")


def test_the_last_line_says_whether_a_swap_is_safe(shell: Shell) -> None:
    assert shell.ok("version", "compare", "a.hyperion", "b.hyperion").splitlines()[-1] == (
        "safe to swap: yes, because callers need not change and 1.0.1 says so; "
        "how answers change was not measured (--dataset)"
    )
    last = shell.ok("version", "compare", "a.hyperion", "c.hyperion", "--quick").splitlines()[-1]
    assert last == "safe to swap: no, because callers must change: inputs.x: renamed x → features"


def test_json_holds_every_weight(shell: Shell) -> None:
    found = shell.json("version", "compare", "a.hyperion", "b.hyperion", "--dataset", "data")

    assert found["step"]["required"] == "patch"
    assert {weight["name"] for layer in found["layers"] for weight in layer["weights"]} >= {"fc1.weight", "fc2.bias"}
    assert found["answers"]["rows"] == 64
    assert found["safe_to_swap"]["safe"] is False  # the labels are those of a


def test_markdown_and_plan_name_the_points_of_the_guide(shell: Shell) -> None:
    page = shell.ok("version", "compare", "a.hyperion", "c.hyperion", "--plan", "--markdown")

    for point in (
        "Review breaking changes in release notes",
        "Update model architecture if needed",
        "Test with new version before deployment",
        "Plan rollback strategy",
    ):
        assert f"**{point}.**" in page


def test_markdown_and_json_exclude_each_other(shell: Shell) -> None:
    refused(shell.within("version", "compare", "a.hyperion", "b.hyperion", "--json", "--markdown"), 2)


def test_the_gate_denies_a_step_that_is_too_small_and_an_override_is_in_the_history(shell: Shell) -> None:
    config = write_config(shell.folder / "deployment.json", name="shop", port=free_port())
    shell.ok("deploy", "model", "--input", "a.hyperion", "--config", config)

    denied = shell("deploy", "model", "--input", "c.hyperion", "--config", config)
    shell.ok("deploy", "model", "--input", "c.hyperion", "--config", config, "--override", "clients know since Monday")

    assert denied.returncode == 1
    assert "plan.version_step" in denied.stdout
    assert "inputs.x: renamed x → features" in denied.stdout
    assert "clients know since Monday" in shell.ok("history", "shop")
    events = json.loads(shell.made("history", "shop", "--json"))["events"]
    created = [event for event in events if event["kind"] == "revision.created"]
    assert [event["data"]["override"] for event in created] == [None, "clients know since Monday"]


def test_packaging_warns_of_a_version_that_promises_too_little(shell: Shell, tmp_path: Path) -> None:
    done = shell(
        "package", "model", "--input", "c", "--output", tmp_path / "child.hyperion", "--quantize", "none",
        "--parent", "a.hyperion",
    )  # fmt: skip

    assert done.returncode == 0
    assert "1.0.0 → 1.0.2 is a patch step; major is needed" in done.stderr
