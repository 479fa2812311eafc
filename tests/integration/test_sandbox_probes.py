"""What a model that took its worker over could do beyond it: nothing. Tried in a real worker process."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from tests.probing_worker import probes
from tests.serving_kit import call, eventually, infer_body
from tests.worker_kit import INFER, workers

from hyperion.adapters.sandbox.confinement import available
from hyperion.domain.confinement import Protection
from hyperion.serving.channel import Gated

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(bool(available().missing), reason=f"this kernel: {available()}")
def test_a_worker_can_do_nothing_but_serve(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given: a worker that tries everything once it is proven, and doors that would open
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "keys.json").write_text("{}")
    with (
        socket.create_server(("127.0.0.1", 0)) as neighbour,
        socket.socket(socket.AF_UNIX) as supervisor,
        workers(state) as kit,
    ):
        supervisor.bind(str(tmp_path / "s"))
        supervisor.listen()
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("PROBE_PORT", str(neighbour.getsockname()[1]))
        monkeypatch.setenv("PROBE_SOCKET", str(tmp_path / "s"))
        kit.entry = "tests.probing_worker"
        worker = kit.start(packages / "v1.hyperion", 1)

        # when
        worker.accept()
        log = eventually(lambda: _probed(state / "r1-w0.log"), what="the probes")

        # then: all was denied, and it serves
        assert dict.fromkeys(probes(state, 0, ""), "PermissionError") == log["probes"]
        assert call(kit.url + INFER, infer_body())[0] == 200

        # and as root's child it is root no more; what is in force was told to the supervisor
        (gated,) = (report for report in worker.heard if isinstance(report, Gated))
        told = {found.name: found for found in map(Protection.model_validate, gated.protections)}
        assert log["uid"] != 0 or not told["user"].in_force
        assert {"no_new_privileges", "file_access", "system_calls", "resources", "user", "address_space"} == set(told)
        assert told["address_space"].in_force


def _probed(log: Path) -> dict[str, object] | None:
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return next((line for line in lines if "probes" in line), None)
