"""A store that a disk damaged: what was proven is served at once, what is damaged is never served."""

from __future__ import annotations

from pathlib import Path

from tests.serving_kit import supervisor

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.digest import hex_of


def test_a_worker_refuses_a_damaged_blob_before_it_serves(packages: Path, tmp_path: Path) -> None:
    with LocalPackages().open(packages / "v1.hyperion") as package:
        blob = tmp_path / "blobs" / "sha256" / hex_of(package.manifest.entries["weights/layer0.weights"].digest)
    with supervisor(tmp_path) as running:
        assert running.deploy(packages / "v1.hyperion").promoted
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(data)

        second = running.deploy(packages / "v1.hyperion", threads=2)

        assert not second.promoted
        assert second.reason is not None
        assert f"the store's copy is damaged, {blob}" in second.reason
        assert running.status().deployments[0].serving
