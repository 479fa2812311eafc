"""Good packages are ordinary zips and safetensors files: the tools that everybody has read them."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from safetensors.numpy import load

from tests.hostile.forge import pack_only, with_chunks
from tests.packages import TENSORS, entries, package_bytes

TOOLS = {
    "unzip": ("unzip", "-t"), "7z": ("7z", "t"), "bsdtar": ("bsdtar", "-tf"), "zip": ("zip", "-T"),
}  # fmt: skip


def packages() -> dict[str, bytes]:
    """One of every kind: small, with an entry over 8 MiB, signed."""
    small = package_bytes()
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        payloads = {name: archive.read(name) for name in archive.namelist()}
    raw = payloads.pop("manifest.json")
    signed = pack_only([*payloads.items(), ("model.sig", b"{}"), ("manifest.json", raw)])
    return {"small": small, "large entry": package_bytes(_large()), "signed": signed}


def _large() -> dict[str, bytes]:
    return entries() | {"assets/large.bin": bytes(8 * 1024 * 1024 + 1)}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_zip_tool_of_the_system_finds_no_fault(tool: str, tmp_path: Path) -> None:
    command, option = TOOLS[tool]
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed here")
    for name, data in packages().items():
        path = tmp_path / f"{name.replace(' ', '_')}.zip"
        path.write_bytes(data)

        done = subprocess.run([command, option, path], capture_output=True, text=True, check=False, timeout=60)

        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_the_standard_library_reads_every_entry() -> None:
    with zipfile.ZipFile(io.BytesIO(packages()["large entry"])) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}

    assert {name: found[name] for name in with_chunks(_large())} == with_chunks(_large())
    assert list(found)[-1] == "manifest.json"


def test_the_safetensors_library_reads_a_weights_entry() -> None:
    found = load(entries()["weights/layer0.weights"])

    assert {name: array.tobytes() for name, array in found.items() if not name.startswith("__pad")} == TENSORS
