"""Outputs of a model to classes, spans of text, and vectors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.processing_models import ENTITIES
from tests.processors import TAGS, text_processor

from hyperion.domain.prediction import ClassPrediction, SpanPrediction, VectorPrediction
from hyperion.domain.raw_input import RawTexts
from hyperion.errors import EngineError


class TestClasses:
    def test_the_likeliest_class_with_its_probability(self) -> None:
        processor = text_processor()
        encoded = processor.encode(RawTexts(["rain", "cat"]))
        outputs = {"logits": np.array([[0.0, np.log(3.0), 0.0], [1000.0, 0.0, 0.0]], np.float32)}

        first, second = processor.predictions(encoded, outputs)

        assert isinstance(first, ClassPrediction)
        assert isinstance(second, ClassPrediction)
        assert (first.label, second.label) == ("markets", "animals")
        assert (first.score, second.score) == pytest.approx((0.6, 1.0))
        assert list(first.scores.values()) == pytest.approx([0.2, 0.6, 0.2])

    def test_one_sigmoid_of_two_labels_is_the_second_ones(self) -> None:
        output = {"kind": "classes", "output": "logits", "labels": ["ham", "spam"], "activation": "sigmoid"}
        processor = text_processor(output, "batch", 1)
        encoded = processor.encode(RawTexts(["rain", "cat"]))

        answers = processor.answers(encoded, {"logits": np.array([[np.log(3.0)], [-800.0]], np.float32)})

        assert answers["label"].tolist() == ["spam", "ham"]
        assert answers["score"].tolist() == pytest.approx([0.75, 1.0])

    @pytest.mark.parametrize(
        ("logits", "code"),
        [
            (np.zeros((1, 4), np.float32), "output.mismatch"),
            (np.zeros((2, 3), np.float32), "output.mismatch"),
            (np.array([[0, np.nan, 0]], np.float32), "output.not_finite"),
        ],
    )
    def test_outputs_that_are_not_as_promised_are_an_error(self, logits: np.ndarray, code: str) -> None:
        processor = text_processor()

        with pytest.raises(EngineError) as failure:
            processor.answers(processor.encode(RawTexts(["rain"])), {"logits": logits})

        assert failure.value.code == code


class TestSpans:
    def tagged(self, text: str, tags: list[str], pair: str | None = None, **output: Any) -> list[tuple[str, str, int]]:
        """Spans of a text whose tokens, without special ones, have these tags."""
        processor = text_processor(TAGS | output, "batch", "sequence", len(ENTITIES))
        encoded = processor.encode(RawTexts([text], None if pair is None else [pair]))
        logits = np.zeros((1, encoded.feeds["input_ids"].shape[1], len(ENTITIES)), np.float32)
        real = [index for index, part in enumerate(encoded.places[0].parts) if part is not None]
        assert len(real) == len(tags), [encoded.places[0].offsets[index] for index in real]
        for index, tag in zip(real, tags, strict=True):
            logits[0, index, ENTITIES.index(tag)] = 5
        (found,) = processor.predictions(encoded, {"logits": logits})
        assert isinstance(found, SpanPrediction)
        for span in found.spans:
            assert (pair if span.part == "text_pair" else text)[span.start : span.end] == span.text  # type: ignore[index]
        return [(span.label, span.text, span.start) for span in found.spans]

    def test_neighbours_inside_one_entity_become_one_span(self) -> None:
        tags = ["B-PER", "I-PER", "O", "B-LOC"]

        assert self.tagged("Anna Smith to Berlin", tags) == [("PER", "Anna Smith", 0), ("LOC", "Berlin", 14)]

    def test_a_new_beginning_is_a_new_span(self) -> None:
        assert len(self.tagged("Anna Smith", ["B-PER", "B-PER"])) == 2

    def test_an_inside_without_a_beginning_begins_one(self) -> None:
        assert self.tagged("to Berlin", ["O", "I-LOC"]) == [("LOC", "Berlin", 3)]

    def test_characters_are_counted_in_code_points(self) -> None:
        assert self.tagged("😀 Berlin", ["O", "B-LOC"]) == [("LOC", "Berlin", 2)]

    def test_spans_of_a_pair_say_which_text_they_stand_in(self) -> None:
        found = self.tagged("Anna", ["B-PER", "I-PER"], pair="Smith")

        assert [text for _, text, _ in found] == ["Anna", "Smith"]

    def test_all_tokens_of_a_word_may_take_the_label_of_its_first(self) -> None:
        text = "Berlinand Smith"  # its first word is none of the vocabulary, so it falls into pieces
        pieces = len(text_processor(TAGS, "batch", "sequence", 5).encode(RawTexts(["Berlinand"])).places[0].parts) - 2
        assert pieces > 1
        tags = ["B-LOC", *["O"] * (pieces - 1), "I-LOC"]

        assert self.tagged(text, tags, words="first-token") == [("LOC", text, 0)]

    def test_as_a_tensor_each_row_is_a_json_list(self) -> None:
        processor = text_processor(TAGS, "batch", "sequence", len(ENTITIES))
        encoded = processor.encode(RawTexts(["Köln", "rain"]))
        logits = np.zeros((2, encoded.feeds["input_ids"].shape[1], len(ENTITIES)), np.float32)
        logits[:, :, 0], logits[0, 1, ENTITIES.index("B-LOC")] = 5, 9

        spans = processor.answers(encoded, {"logits": logits})["spans"]

        first, second = (json.loads(row) for row in spans)
        assert [(span["label"], span["start"], span["text"]) for span in first] == [("LOC", 0, "K")]
        assert second == []


class TestVectors:
    def test_the_mean_passes_over_padding(self) -> None:
        output = {"kind": "vector", "output": "logits", "pooling": "mean", "normalize": True}
        processor = text_processor(output, "batch", "sequence", 2)
        encoded = processor.encode(RawTexts(["the cat sat on the mat", "rain"]))
        vectors = np.zeros((*encoded.feeds["input_ids"].shape, 2), np.float32)
        vectors[..., 0], vectors[1, 4:, 0] = 3.0, 900.0
        vectors[..., 1], vectors[1, 4:, 1] = 4.0, -900.0

        found = processor.predictions(encoded, {"logits": vectors})

        assert encoded.feeds["attention_mask"][1].sum() <= 4
        assert [prediction.values for prediction in found if isinstance(prediction, VectorPrediction)] == [
            pytest.approx((0.6, 0.8)), pytest.approx((0.6, 0.8)),
        ]  # fmt: skip

    def test_a_vector_that_the_model_gives_itself_is_not_given_twice(self) -> None:
        assert text_processor({"kind": "vector", "output": "logits"}).answer_specs == ()
