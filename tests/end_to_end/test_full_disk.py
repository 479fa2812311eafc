"""A disk that is full: a refusal that names place and sizes, nothing half-written, and the old revision serves."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.conftest import write_config
from tests.end_to_end.shell import Shell, ask, refused
from tests.models import mlp, write_model_dir
from tests.ports import free_port
from tests.small_disk import small_disk


def large(folder: Path) -> Path:
    """A model directory of about 3 MiB."""
    return write_model_dir(folder, model=mlp(hidden=20_000), version="2.0.0")


def test_packaging_and_extracting_onto_a_full_disk_leave_nothing(workspace: Shell, tmp_path: Path) -> None:
    package = tmp_path / "large.hyperion"
    words = ("package", "model", "--quantize", "none", "--input", large(tmp_path / "source"), "--output")
    workspace.made(*words, package)

    with small_disk(tmp_path / "small") as small:
        packaging = refused(workspace(*words, small / "f.hyperion"), 9)
        extracting = refused(workspace("extract", "model", "--input", package, "--output", small / "tree"), 9)

        for said in (packaging, extracting):
            assert "host.no_space" in said
            assert str(small) in said
            assert " bytes needed, 1048576 free" in said
        assert list(small.iterdir()) == []


def test_a_disk_without_a_free_byte_keeps_the_old_package(workspace: Shell, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as small:
        workspace.made("package", "model", "--input", "model_dir", "--output", small / "f.hyperion")
        old = (small / "f.hyperion").read_bytes()
        with (small / "rest").open("wb") as rest:
            try:
                rest.write(bytes(2 << 20))
                rest.flush()
            except OSError:
                pass

        said = refused(workspace("package", "model", "--input", "model_dir", "--output", small / "f.hyperion"), 9)

        assert "host.no_space" in said
        assert (small / "f.hyperion").read_bytes() == old
        assert {path.name for path in small.iterdir()} == {"f.hyperion", "rest"}


def test_a_full_state_folder_denies_a_deploy_and_the_old_revision_serves(workspace: Shell, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    port = free_port()
    config = write_config(tmp_path / "deployment.json", name="tight", port=port)
    for name, source in (("small", workspace.folder / "model_dir"), ("large", large(tmp_path / "source"))):
        words = ("--input", source, "--output", tmp_path / f"{name}.hyperion", "--quantize", "none")
        shell.made("package", "model", *words)

    with small_disk(tmp_path / "home"):
        try:
            shell.ok("deploy", "model", "--input", "small.hyperion", "--config", config)
            done = shell("deploy", "model", "--input", "large.hyperion", "--config", config)

            refused(done, 1)
            assert "disk space is too small" in done.stdout
            assert ask(f"http://127.0.0.1:{port}/v2/models/tight")["versions"] == ["1.0.0"]
            assert list((tmp_path / "home" / "tmp").glob("blob-*")) == []
        finally:
            shell("stop", "--all")
