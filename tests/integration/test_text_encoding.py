"""Texts to tensors with a real tokenizer, and tokenizers that are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.packages import write_package
from tests.processing_models import VOCABULARY, tokenizer_json
from tests.processors import TOKENIZER, table, text_processor

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.processing.route import LocalProcessors
from hyperion.domain.raw_input import RawTexts
from hyperion.errors import ConfigError, EngineError
from hyperion.ports import Encoded

UNKNOWN_SPECIAL: dict[str, Any] = {
    "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [],
    "special_tokens": {},
}  # fmt: skip


class TestTexts:
    def test_ids_are_those_of_the_tokenizer_and_padded_to_the_longest(self) -> None:
        from tokenizers import Tokenizer

        own = Tokenizer.from_str(TOKENIZER)

        feeds = text_processor().encode(RawTexts(["the cat sat", "rain"])).feeds

        long, short = own.encode("the cat sat"), own.encode("rain")
        rest = len(long.ids) - len(short.ids)
        assert feeds["input_ids"].tolist() == [long.ids, short.ids + [0] * rest]
        assert feeds["attention_mask"].tolist() == [[1] * len(long.ids), [1] * len(short.ids) + [0] * rest]
        assert feeds["input_ids"].dtype == np.int64

    def test_pairs_have_segment_ids(self) -> None:
        feeds = text_processor().encode(RawTexts(["rain"], ["cat cat"])).feeds

        assert set(feeds["token_type_ids"][0].tolist()) == {0, 1}

    def test_the_model_says_which_integers(self) -> None:
        feeds = text_processor(ids="int32").encode(RawTexts(["rain"])).feeds

        assert {array.dtype.name for array in feeds.values()} == {"int32"}

    def test_longer_texts_are_cut_and_that_is_told(self) -> None:
        encoded = text_processor(max_tokens=6).encode(RawTexts(["the cat sat on the mat", "rain", "a b c d"]))

        assert encoded.feeds["input_ids"].shape[1] == 6
        assert encoded.cut == (0,)

    def test_a_model_of_fixed_length_gets_it(self) -> None:
        assert text_processor(length=30).encode(RawTexts(["rain"])).feeds["input_ids"].shape == (1, 30)

    def test_a_model_of_fixed_batch_says_how_many_rows_it_takes(self) -> None:
        processor = text_processor(batch=1)

        assert processor.batch_rows(32) == 1
        with pytest.raises(ConfigError, match="takes 1 rows at a time, found 2"):
            processor.encode(RawTexts(["a", "b"]))

    @pytest.mark.parametrize(
        ("texts", "fault"),
        [
            (RawTexts([]), "there are no rows"),
            (RawTexts(["a", 3], first_row=5), "row 6, 'text': expected text, found int"),  # type: ignore[list-item]
            (RawTexts(["a"], ["b\ud800"]), "row 0, 'text_pair': holds a lone surrogate"),
            (RawTexts(["x" * 1_000_001]), "row 0, 'text': has 1000001 characters; at most 1000000"),
            (RawTexts(["a", "b"], ["c"]), "2 texts and 1 second texts"),
            (table(a=[1]), "takes texts, not rows of a table"),
        ],
    )
    def test_what_is_no_text_is_refused_by_row(self, texts: Any, fault: str) -> None:
        with pytest.raises(ConfigError, match=fault) as refusal:
            text_processor().encode(texts)

        assert refusal.value.code == "input.invalid"

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
    def test_any_texts_are_encoded_alike_alone_and_together(self, texts: list[str]) -> None:
        processor = _SHARED
        together = processor.encode(RawTexts(texts)).feeds["input_ids"]

        for row, text in enumerate(texts):
            alone = processor.encode(RawTexts([text])).feeds["input_ids"][0]
            assert together[row, : len(alone)].tolist() == alone.tolist()
            assert not together[row, len(alone) :].any()


_SHARED = text_processor()


class TestTokenizers:
    @pytest.mark.parametrize(
        ("tokenizer", "fault"),
        [
            ("{}", "is no tokenizer.json that can be used"),
            ("[" * 100_000, "is no tokenizer.json that can be used"),
            ('"version https://git-lfs"', "is no tokenizer.json that can be used"),
            (tokenizer_json(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA////"}), "charsmap"),
            (tokenizer_json(post_processor=UNKNOWN_SPECIAL), "input.tokenizer"),
        ],
        ids=["empty", "deep", "another text", "panics while it loads", "panics when it is used"],
    )
    def test_one_that_cannot_be_used_is_refused(self, tokenizer: str, fault: str, capfd: Any) -> None:
        with pytest.raises(ConfigError, match=r"input\.tokenizer") as refusal:
            text_processor(tokenizer=tokenizer)

        assert fault in refusal.value.message
        assert capfd.readouterr().err == ""

    def test_one_that_panics_on_a_text_fails_that_request_alone(self, capfd: Any) -> None:
        bomb = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
        processor = text_processor(tokenizer=tokenizer_json(pre_tokenizer=bomb))

        with pytest.raises(EngineError) as failure:
            processor.encode(RawTexts(["a" * 40 + "b"]))

        assert failure.value.code == "tokenizer.failed"
        assert capfd.readouterr().err == ""
        assert processor.encode(RawTexts(["rain"])).rows == 1

    def test_its_own_padding_and_truncation_do_not_count(self) -> None:
        padding = {
            "strategy": {"Fixed": 10**9}, "direction": "Left", "pad_to_multiple_of": None,
            "pad_id": 1, "pad_type_id": 0, "pad_token": "[UNK]",
        }  # fmt: skip
        processor = text_processor(tokenizer=tokenizer_json(padding=padding))

        assert processor.encode(RawTexts(["rain"])).feeds["input_ids"].shape[1] < 10

    def test_an_enormous_file_is_not_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hyperion.adapters.processing.text.MAX_TOKENIZER_BYTES", 100)

        with pytest.raises(ConfigError, match="at most 100 are read"):
            text_processor()

    def test_the_padding_token_must_be_one(self) -> None:
        with pytest.raises(ConfigError, match=r"input.pad_token: '<pad>' is no token"):
            text_processor(pad_token="<pad>")  # noqa: S106

    def test_there_must_be_room_for_more_than_special_tokens(self) -> None:
        with pytest.raises(ConfigError, match=r"input.max_tokens: is 3, but the tokenizer adds 3"):
            text_processor(max_tokens=3)


def test_packages_without_processing_have_no_processor(tmp_path: Path) -> None:
    with LocalPackages().open(write_package(tmp_path / "p.hyperion")) as package:
        assert LocalProcessors().open(package) is None


def test_threads_share_a_processor() -> None:
    texts = [f"the cat sat {index} times" for index in range(40)]
    expected = [_SHARED.encode(RawTexts([text])).feeds["input_ids"].tolist() for text in texts]

    def encode(text: str) -> Encoded:
        return _SHARED.encode(RawTexts([text]))

    with ThreadPoolExecutor(4) as pool:
        found = [encoded.feeds["input_ids"].tolist() for encoded in pool.map(encode, texts)]

    assert found == expected
    assert max(max(row) for ids in found for row in ids) < VOCABULARY
