"""What the files of sentence-transformers say of pooling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperion.adapters.conversion.sentence_pooling import SentencePooling, sentence_pooling
from hyperion.errors import ModelSourceError

TYPES = "sentence_transformers.models"


def write(folder: Path, modes: dict[str, object], *modules: str) -> Path:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    listed = [{"idx": at, "path": "1_Pooling" if name == "Pooling" else "", "type": f"{TYPES}.{name}"}
              for at, name in enumerate(modules)]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


def test_without_modules_it_is_the_mean_with_the_norm(tmp_path: Path) -> None:
    assert sentence_pooling(tmp_path) == SentencePooling("mean", normalized=True, stated=False)


@pytest.mark.parametrize(
    ("modes", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "cls"}, "first"),
    ],
)
def test_the_pooling_is_the_stated_one(modes: dict[str, object], pooling: str, tmp_path: Path) -> None:
    found = sentence_pooling(write(tmp_path, modes, "Transformer", "Pooling"))

    assert (found.pooling, found.normalized, found.stated) == (pooling, False, True)


def test_a_normalize_module_means_the_norm(tmp_path: Path) -> None:
    found = sentence_pooling(write(tmp_path, {"pooling_mode_mean_tokens": True}, "Transformer", "Pooling", "Normalize"))

    assert found.normalized


@pytest.mark.parametrize(
    "modes",
    [
        {},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_weightedmean_tokens": True},
    ],
)
def test_no_pooling_several_or_an_unknown_one_is_refused(modes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="expected exactly one of"):
        sentence_pooling(write(tmp_path, modes, "Transformer", "Pooling"))


def test_a_module_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="Dense is not supported"):
        sentence_pooling(write(tmp_path, {"pooling_mode_mean_tokens": True}, "Transformer", "Pooling", "Dense"))


def test_the_length_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256}))

    assert sentence_pooling(tmp_path).max_tokens == 256


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[1")

    with pytest.raises(ModelSourceError, match=r"modules\.json: is no JSON"):
        sentence_pooling(tmp_path)
