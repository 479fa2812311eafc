"""The committed examples are what their READMEs say."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pytest

from hyperion.domain.config import DeploymentConfig, MemoryConfig, VerificationConfig
from hyperion.domain.document import Document
from hyperion.domain.platform import PlatformProfile

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODEL_FILES = ("model.onnx", "hyperion.json", "README.md", "LICENSE", "golden/digits.npz", "golden/digits.json")


@pytest.mark.parametrize(("version", "errors"), [("v1", 26), ("v2", 10)])
def test_float_model_makes_the_errors_that_its_readme_states(version: str, errors: int) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(EXAMPLES / "mnist" / version / "model.onnx")
    with np.load(EXAMPLES / "mnist" / "test_data" / "digits.npz") as data:
        images, labels = data["image"], data["label"]

    found = np.asarray(session.run(None, {"image": images})[0]).argmax(axis=1)

    assert int((found != labels).sum()) == errors
    readme = (EXAMPLES / "mnist" / version / "README.md").read_text()
    assert f"{1 - errors / 1000:.3f} ({errors} errors)" in readme


def test_guide_folder_holds_the_second_version_and_the_same_test_data() -> None:
    guide, mnist = EXAMPLES / "guide", EXAMPLES / "mnist"

    _, differing, missing = filecmp.cmpfiles(guide / "model_dir", mnist / "v2", MODEL_FILES, shallow=False)

    assert (differing, missing) == ([], [])
    assert filecmp.cmp(guide / "test_data" / "digits.npz", mnist / "test_data" / "digits.npz", shallow=False)


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("deployment.json", DeploymentConfig),
        ("verification.json", VerificationConfig),
        ("memory_config.json", MemoryConfig),
        ("target_platform", PlatformProfile),
    ],
)
def test_guide_documents_are_valid(file: str, model: type[Document]) -> None:
    model.model_validate_json((EXAMPLES / "guide" / file).read_bytes())
