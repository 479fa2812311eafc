"""NVIDIA's own client of the protocol, unmodified, against our server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests import models
from tests.oracle_venv import TRITON_CLIENT, oracle
from tests.packaging import load, pack
from tests.processing_models import text_dir
from tests.serving_kit import supervisor
from tests.worker_kit import DEPLOYMENT, pair_of_workers

from hyperion.domain.prediction import ClassPrediction

TALK = Path(__file__).with_name("triton_talk.py")
X = models.inputs(rows=3, seed=3)
TEXTS = ["The cat sat on the mat.", "Oil rose in London", "Ärger in Zürich — 東京", ""]
SWAPS = 6

pytestmark = pytest.mark.slow


def command(topic: str, url: str, model: str) -> list[str]:
    python = oracle(*TRITON_CLIENT) / "python"
    return [str(python), str(TALK), topic, url.removeprefix("http://"), model]


def talk(topic: str, url: str, model: str, given: object) -> Any:
    """What it found."""
    done = subprocess.run(
        command(topic, url, model), input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_it_asks_for_numbers_in_every_way_and_understands(packages: Path, tmp_path: Path) -> None:
    given = {"x": X.tolist(), "y": models.expected(models.mlp(0), X).tolist()}
    with pair_of_workers(tmp_path, packages) as pair:
        pair.reset()
        done = talk("tensors", pair.kit.url, DEPLOYMENT, given)
    assert done == [
        "live",
        "metadata",
        "json",
        "binary",
        "mixed",
        "one-by-one",
        "errors",
        "compression",
        "parallel",
    ]


def test_it_sends_texts_and_gets_the_labels_that_the_library_gives(tmp_path: Path) -> None:
    package = tmp_path / "texts.hyperion"
    pack(text_dir(tmp_path / "texts"), package, "none")
    with supervisor(tmp_path / "home") as running:
        found = talk("texts", str(running.deploy(package, "texts").url), "texts", TEXTS)
    expected = [one for one in load(package).predict(TEXTS) if isinstance(one, ClassPrediction)]
    assert found["label"] == [one.label for one in expected]
    assert found["score"] == pytest.approx([one.score for one in expected], rel=1e-6)


def test_over_one_connection_it_sees_no_failure_while_revisions_come_and_go(packages: Path, tmp_path: Path) -> None:
    answers = {"1.0.0": models.expected(models.mlp(0), X).tolist(), "1.1.0": models.expected(models.mlp(1), X).tolist()}
    with supervisor(tmp_path / "home") as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        asking = subprocess.Popen(
            command("without-pause", url, DEPLOYMENT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert asking.stdin is not None
        assert asking.stdout is not None
        asking.stdin.write(json.dumps({"x": X.tolist(), "answers": answers}) + "\n")
        asking.stdin.flush()
        assert asking.stdout.readline() == "sending\n"
        for number in range(SWAPS):
            running.deploy(packages / f"v{2 - number % 2}.hyperion")
        found = json.loads(asking.communicate(timeout=60)[0])

    assert found["faults"] == {}
    assert found["versions"].keys() == {"1.0.0", "1.1.0"}
