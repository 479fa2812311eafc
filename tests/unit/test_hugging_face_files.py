"""What is read off the files of a Hugging Face directory, before any library looks at it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperion.adapters.conversion.hugging_face_files import max_tokens_of, task_of
from hyperion.errors import ModelSourceError


@pytest.mark.parametrize(
    ("architectures", "asked", "task"),
    [
        (["BertModel"], None, "embedding"),
        ([], None, "embedding"),
        (["BertForSequenceClassification"], None, "sequence-classification"),
        (["XLMRobertaForTokenClassification"], None, "token-classification"),
        (["BertForMaskedLM"], "embedding", "embedding"),
        (["GPT2LMHeadModel"], "embedding", "embedding"),
        (["BertModel"], "token-classification", "token-classification"),
    ],
)
def test_the_task_follows_from_the_architecture_unless_one_is_asked_for(
    architectures: list[str], asked: str | None, task: str, tmp_path: Path
) -> None:
    assert task_of(tmp_path, {"architectures": architectures}, asked) == task


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM", "T5ForConditionalGeneration"])
def test_models_that_generate_text_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="generates text, which is not supported yet"):
        task_of(tmp_path, {"architectures": [name]}, None)


@pytest.mark.parametrize("stated", [None, 5, "BertModel", {}])
def test_architectures_that_are_no_list_say_nothing(stated: object, tmp_path: Path) -> None:
    assert task_of(tmp_path, {"architectures": stated}, None) == "embedding"


def test_another_task_is_refused_with_those_that_are_supported(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError) as refusal:
        task_of(tmp_path, {"architectures": ["BertForQuestionAnswering"]}, None)

    assert refusal.value.code == "model_source.task"
    assert "sequence-classification" in (refusal.value.hint or "")


def test_modules_of_sentence_transformers_mean_embeddings_whatever_the_head(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")

    assert task_of(tmp_path, {"architectures": ["MPNetForMaskedLM"]}, None) == "embedding"


@pytest.mark.parametrize(
    ("stated", "truncation", "own", "config", "limit"),
    [
        (256, 128, 512, {"max_position_embeddings": 512}, 256),
        (None, 128, 512, {"max_position_embeddings": 512}, 128),
        (None, None, 384, {"max_position_embeddings": 512}, 384),
        (None, None, 10**30, {"max_position_embeddings": 512}, 512),
        (8192, None, None, {"max_position_embeddings": 512}, 512),
        (None, None, None, {"max_position_embeddings": 514, "model_type": "roberta"}, 512),
        (None, None, None, {}, 512),
    ],
)
def test_texts_are_cut_at_the_first_stated_limit_within_the_positions(
    stated: int | None,
    truncation: int | None,
    own: int | None,
    config: dict[str, object],
    limit: int,
    tmp_path: Path,
) -> None:
    cut = None if truncation is None else {"max_length": truncation}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"truncation": cut}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({} if own is None else {"model_max_length": own}))

    assert max_tokens_of(tmp_path, config, stated) == limit
