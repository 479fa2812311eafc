"""A deployment behind a unix socket: served, swapped and rolled back without loss, and gone when it is stopped."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.models import FEATURES
from tests.serving_kit import Foreground, Load, eventually, infer_body, supervisor

from hyperion.adapters.service.inference_client import HttpInferenceClient
from hyperion.domain.deployment import Origin
from hyperion.errors import HostError

INFER = "/v2/models/shop/infer"


@pytest.fixture
def place() -> Iterator[Path]:
    """A path that is short enough for a socket's address, wherever tmp_path is."""
    with tempfile.TemporaryDirectory(prefix="hyp") as folder:
        yield Path(folder) / "shop.sock"


def test_swaps_and_rollbacks_behind_a_unix_socket_lose_nothing(packages: Path, tmp_path: Path, place: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", serve={"socket": str(place)}).url)
        assert url == f"unix:{place}"
        load = Load(url, INFER, infer_body()).start(3, 2)
        try:
            eventually(lambda: len(load.answers) > 50, what="the first answers")
            running.deploy(packages / "v2.hyperion", serve={"socket": str(place), "socket_mode": "0660"})
            assert stat.S_IMODE(place.stat().st_mode) == 0o660
            eventually(lambda: "2" in load.revisions(), what="answers of revision 2")
            running.deploy(packages / "v1.hyperion", serve={"socket": str(place)}, origin=Origin.ROLLBACK)
            eventually(lambda: "3" in load.revisions(), what="answers of revision 3")
        finally:
            load.stop()
        assert load.failures == []
        running.stop()
        assert not place.exists()


@pytest.fixture(scope="module")
def served(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Foreground, str]]:
    """A supervisor that serves ``shop`` behind a socket, and the socket's URL."""
    with tempfile.TemporaryDirectory(prefix="hyp") as folder, supervisor(tmp_path_factory.mktemp("state")) as running:
        place = Path(folder) / "shop.sock"
        yield running, str(running.deploy(packages / "v1.hyperion", serve={"socket": str(place)}).url)


def test_our_own_client_speaks_through_it(served: tuple[Foreground, str]) -> None:
    client, url = HttpInferenceClient(), served[1]

    assert client.not_ready(url, "shop", 5) is None
    answer = client.infer(url, "shop", {"x": np.zeros((1, FEATURES), np.float32)}, 5)

    client.close()
    assert answer.revision == 1


def test_a_socket_of_another_deployment_is_named(packages: Path, served: tuple[Foreground, str]) -> None:
    running, url = served

    with pytest.raises(HostError) as refused:
        running.deploy(packages / "v1.hyperion", "other", serve={"socket": url.removeprefix("unix:")})

    assert refused.value.code == "host.socket_in_use"
    assert "deployment 'shop'" in refused.value.message
    assert [status.deployment.name for status in running.status().deployments] == ["shop"]
