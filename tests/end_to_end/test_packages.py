"""The commands that need nothing but a model directory or a package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from docs.generate import FIGURES
from tests.end_to_end.shell import Shell, refused, told
from tests.models import mlp, write_model_dir

FILES = {"manifest.json", "architecture.json", "weights", "config", "assets"}


@pytest.fixture
def package(workspace: Shell, tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    return Path(shutil.copy(workspace.folder / "model.hyperion", tmp_path / "copy.hyperion"))


def test_package_model_says_layers_scheme_sizes_and_digest(workspace: Shell, tmp_path: Path) -> None:
    page = workspace.ok("package", "model", "--input", "model_dir", "--output", tmp_path / "again.hyperion")

    assert "sha256:" in page
    assert "int8" in page
    assert "test-mlp 1.0.0" in page
    assert (tmp_path / "again.hyperion").read_bytes() == (workspace.folder / "model.hyperion").read_bytes()


def test_package_model_takes_metadata_from_its_options(workspace: Shell, tmp_path: Path) -> None:
    options = {
        "--name": "renamed", "--version": "2.0.0-rc.1", "--author": "Ada", "--description": "Tests.",
        "--license": "MIT", "--platform": "linux/amd64", "--quantize": "none", "--parent": "model.hyperion",
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]

    workspace.json("package", "model", "--input", "model_dir", "--output", tmp_path / "new.hyperion", *words)

    workspace.made("extract", "model", "--input", tmp_path / "new.hyperion", "--output", tmp_path / "tree")
    manifest = json.loads((tmp_path / "tree" / "manifest.json").read_text())
    assert manifest["name"] == "renamed"
    assert manifest["version"] == "2.0.0-rc.1"
    assert manifest["platform"] == "linux/amd64"
    assert manifest["parent"]["version"] == "1.0.0"
    assert (manifest["author"], manifest["description"], manifest["license"]) == ("Ada", "Tests.", "MIT")


def test_package_model_warns_of_missing_metadata(workspace: Shell, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "bare", golden=False)
    (source / "hyperion.json").unlink()

    done = workspace("package", "model", "--input", source, "--output", tmp_path / "bare.hyperion")

    assert done.returncode == 0, told(done)
    for word in ("author", "description", "licen"):
        assert word in done.stderr + done.stdout


def test_extract_model_gives_a_tree_that_is_a_package_and_packs_to_the_same_bytes(
    workspace: Shell, tmp_path: Path
) -> None:
    workspace.ok("extract", "model", "--input", "model.hyperion", "--output", tmp_path / "tree")

    assert {path.name for path in (tmp_path / "tree").iterdir()} == FILES
    workspace.made("verify", "integrity", tmp_path / "tree")
    workspace.ok("package", "model", "--input", tmp_path / "tree", "--output", tmp_path / "repacked.hyperion")
    assert (tmp_path / "repacked.hyperion").read_bytes() == (workspace.folder / "model.hyperion").read_bytes()


def test_inspect_shows_what_is_in_a_package(workspace: Shell) -> None:
    page = workspace.ok("inspect", "model.hyperion")

    assert "test-mlp" in page
    assert "float32[batch, 32]" in page
    assert json.loads(workspace.made("inspect", "model.hyperion", "--json"))


def test_verify_model_passes_a_good_package(workspace: Shell) -> None:
    report = workspace.json("verify", "model", "--input", "model.hyperion")

    assert report["ok"] is True
    assert {"model.load", "model.golden"} <= {f["check"] for f in report["findings"] if f["outcome"] == "passed"}


def test_verify_model_without_golden_requests_runs_a_generated_input(workspace: Shell, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "source", golden=False)
    workspace.made("package", "model", "--input", source, "--output", tmp_path / "f.hyperion")

    page = workspace.ok("verify", "model", "--input", tmp_path / "f.hyperion")

    assert "model.outputs" in page


def test_verify_integrity_says_what_is_wrong_and_where_and_ends_with_1(workspace: Shell, package: Path) -> None:
    raw = bytearray(package.read_bytes())
    raw[len(raw) // 2] ^= 1
    package.write_bytes(raw)

    done = workspace("verify", "integrity", package)
    report = json.loads(workspace.within("verify", "integrity", package, "--json").stdout)

    refused(done, 1)
    assert "NOT OK" in done.stdout
    assert report["ok"] is False
    assert any(finding["outcome"] == "failed" for finding in report["findings"])


@pytest.mark.parametrize(
    ("step", "version"),
    [("--major", "2.0.0"), ("--minor", "1.1.0"), ("--patch", "1.0.1")],
    ids=["major", "minor", "patch"],
)
def test_version_update_raises_the_version_in_place(workspace: Shell, package: Path, step: str, version: str) -> None:
    page = workspace.ok("version", "update", package, step, "--message", "Because [bold]\x1b[31m")

    assert version in page
    assert "\x1b" not in page
    assert version in workspace.made("version", "check", package)
    assert workspace.made("verify", "integrity", package)


def test_version_update_takes_one_step_only(workspace: Shell, package: Path) -> None:
    before = package.read_bytes()

    done = workspace.within("version", "update", package, "--major", "--minor")

    assert done.returncode == 2
    assert "found --major and --minor" in done.stderr
    assert package.read_bytes() == before


def test_version_compare_shows_order_and_changes(workspace: Shell, package: Path) -> None:
    workspace.made("version", "update", package, "--minor")

    page = workspace.ok("version", "compare", "model.hyperion", package)

    assert "1.0.0" in page
    assert "1.1.0" in page
    assert json.loads(workspace.made("version", "compare", "model.hyperion", package, "--json"))


def test_verify_performance_measures_speed_and_accuracy(workspace: Shell) -> None:
    report = workspace.json("verify", "performance", "model.hyperion", "--dataset", "test_data/")
    page = workspace.ok("verify", "performance", "model.hyperion", "--dataset", "test_data/")

    assert report["ok"] is True
    assert report["figures"]["accuracy"] >= 0.9
    assert set(report["figures"]) <= set(FIGURES)
    assert "confusion matrix" in page
    assert "precision" in page
    assert "class0" in page


def test_verify_memory_answers_by_the_budget(workspace: Shell, tmp_path: Path) -> None:
    generous = tmp_path / "generous.json"
    generous.write_text('{"budget_mb": 2048, "runs": 3}')
    tight = tmp_path / "tight.json"
    tight.write_text('{"budget_mb": 1, "runs": 3}')

    within = workspace.json("verify", "memory", "model.hyperion", "--config", generous)
    assert within["ok"] is True
    assert set(within["figures"]) <= set(FIGURES)
    assert workspace.json("verify", "memory", "model.hyperion", "--config", tight, code=1)["ok"] is False


def test_verify_compatibility_takes_a_name_or_a_probed_profile(workspace: Shell, tmp_path: Path) -> None:
    profile = tmp_path / "target_platform"
    profile.write_text(workspace.made("platform", "probe", "--json"))

    assert workspace.json("verify", "compatibility", "model.hyperion", "--platform", "linux/amd64")["ok"] is True
    assert workspace.json("verify", "compatibility", "model.hyperion", "--platform", profile)["ok"] is True


def test_verify_compatibility_says_no_to_a_target_without_the_operators(workspace: Shell, tmp_path: Path) -> None:
    profile = json.loads(workspace.made("platform", "probe", "--json"))
    profile["operators"] = ["ai.onnx::Relu"]
    target = tmp_path / "target_platform"
    target.write_text(json.dumps(profile))

    report = workspace.json("verify", "compatibility", "model.hyperion", "--platform", target, code=1)

    assert any("operator" in finding["check"] for finding in report["findings"] if finding["outcome"] == "failed")


# --- bad input ---------------------------------------------------------------------------------------------------


def test_a_folder_without_a_model_is_refused_by_what_was_looked_for(workspace: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    done = workspace.within("package", "model", "--input", tmp_path / "empty", "--output", tmp_path / "f.hyperion")

    assert "model.onnx" in refused(done, 3)
    assert not (tmp_path / "f.hyperion").exists()


def test_a_git_lfs_pointer_is_called_by_its_name(workspace: Shell, tmp_path: Path) -> None:
    source = tmp_path / "pointer"
    source.mkdir()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    (source / "model.onnx").write_text(pointer)

    done = workspace.within("package", "model", "--input", source, "--output", tmp_path / "f.hyperion")

    assert "LFS" in refused(done, 3)


def test_wrong_keys_of_hyperion_json_are_all_named(workspace: Shell, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "source")
    (source / "hyperion.json").write_text('{"nmae": "x", "tags": "y", "version": 1}')

    said = refused(workspace.within("package", "model", "--input", source, "--output", tmp_path / "f.hyperion"), 2)

    for key in ("nmae", "tags", "version"):
        assert key in said


def test_a_version_that_is_not_semver_is_refused(workspace: Shell, tmp_path: Path) -> None:
    output = tmp_path / "f.hyperion"

    done = workspace.within("package", "model", "--input", "model_dir", "--output", output, "--version", "v1")

    assert "v1" in refused(done, 2)
    assert not output.exists()


def test_a_foreign_file_at_the_output_is_not_touched(workspace: Shell, tmp_path: Path) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")

    refused(workspace.within("package", "model", "--input", "model_dir", "--output", foreign), 6)
    refused(workspace.within("extract", "model", "--input", "model.hyperion", "--output", foreign), 6)

    assert foreign.read_text() == "mine"


def test_extracting_a_broken_package_leaves_nothing(workspace: Shell, package: Path, tmp_path: Path) -> None:
    raw = bytearray(package.read_bytes())
    raw[len(raw) // 2] ^= 1
    package.write_bytes(raw)

    refused(workspace.within("extract", "model", "--input", package, "--output", tmp_path / "tree"), 3)

    assert not (tmp_path / "tree").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["copy.hyperion"]


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "absent"),
        ("version", "check", "absent"),
        ("version", "update", "absent", "--minor"),
        ("version", "compare", "model.hyperion", "absent"),
        ("extract", "model", "--input", "absent", "--output", "never"),
        ("package", "model", "--input", "absent", "--output", "never"),
        ("verify", "model", "--input", "absent"),
        ("verify", "integrity", "absent"),
        ("verify", "performance", "model.hyperion", "--dataset", "absent"),
        ("verify", "memory", "model.hyperion", "--config", "absent"),
        ("verify", "compatibility", "absent", "--platform", "linux/amd64"),
    ],
    ids=" ".join,
)
def test_what_does_not_exist_ends_with_5_and_is_named(workspace: Shell, words: tuple[str, ...]) -> None:
    done = workspace.within(*words, "--json")

    assert "absent" in json.loads(done.stdout)["error"]["message"]
    refused(done, 5)
    assert not (workspace.folder / "never").exists()


def test_a_file_that_is_no_package_is_refused(workspace: Shell, tmp_path: Path) -> None:
    text = tmp_path / "text.hyperion"
    text.write_text("no package at all")

    refused(workspace.within("inspect", text), 3)
    refused(workspace.within("version", "check", text), 3)
    refused(workspace.within("verify", "model", "--input", text), 1)
    refused(workspace.within("verify", "integrity", text), 1)


def test_all_wrong_keys_of_memory_config_are_named_with_their_paths(workspace: Shell, tmp_path: Path) -> None:
    config = tmp_path / "memory_config.json"
    config.write_text('{"budget_mb": "many", "run": 3, "threads": 0}')

    done = workspace.within("verify", "memory", "model.hyperion", "--config", config, "--json")

    error = json.loads(done.stdout)["error"]
    refused(done, 2)
    assert {problem["path"] for problem in error["problems"]} == {"budget_mb", "run", "threads"}


def test_hostile_metadata_is_shown_not_obeyed(workspace: Shell, tmp_path: Path) -> None:
    output = tmp_path / "f.hyperion"
    hostile = "\x1b[2J[bold red]<script>alert(1)</script>[/]\n\u202e"
    words = ("--author", hostile, "--description", hostile, "--license", "MIT")
    done = workspace("package", "model", "--input", "model_dir", "--output", output, *words)

    pages = done.stdout + done.stderr + workspace.made("inspect", output) + workspace.made("version", "check", output)

    assert done.returncode == 0, told(done)
    assert "\x1b" not in pages
    assert "\u202e" not in pages
    assert "[bold red]<script>" in pages


def test_a_model_with_nan_weights_is_told_from_a_broken_one(workspace: Shell, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "nan", model=mlp(nan=True), golden=False)
    output = tmp_path / "nan.hyperion"

    said = workspace.ok("package", "model", "--input", source, "--output", output)
    report = json.loads(workspace.made("verify", "model", "--input", output, "--json"))

    assert "no finite floating-point output could be compared" in said
    outcomes = {finding["check"]: finding["outcome"] for finding in report["findings"]}
    assert (outcomes["model.load"], outcomes["model.outputs"]) == ("passed", "warned")
