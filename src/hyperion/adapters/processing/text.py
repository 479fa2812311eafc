"""Texts to token ids, with Hugging Face's ``tokenizers``.

A tokenizer.json comes from a package, so from anybody. It is data and runs no code; what it can do is take time and
memory. Bounds: the file and each text have a largest size; the library's parser stops at 128 levels of nesting; a
regular expression stops after ten million steps of one match (Oniguruma's retry limit). What the library answers with
a panic, which is no Exception in Python, becomes an error here. One tokenizer is shared by all threads: nothing of it
changes after it was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperion.adapters.engine.native_stderr import panics_kept_back
from hyperion.domain.processing import TextInput
from hyperion.domain.raw_input import RawInputs, RawTexts, refused_input
from hyperion.domain.tensor import Signature
from hyperion.errors import EngineError, Problem
from hyperion.ports import Array, Encoded, TokenPlaces

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

MAX_TOKENIZER_BYTES = 64 * 1024 * 1024
"""The largest in wide use (Gemma's, 262,144 tokens) has 33 MB."""
MAX_CHARACTERS = 1_000_000
"""Of one text: it is tokenized whole, however few tokens are kept."""
MAX_BATCH_TOKENS = 262_144
"""Of all rows together, padding included: one long text among many short ones would fill the memory."""
_SAMPLE = "A sentence: 1,2 … ünïcode 漢字 😀"
"""What every tokenizer must take before it is used."""


def load_tokenizer(
    text: TextInput, entries: Mapping[str, Callable[[], bytes]]
) -> tuple[Tokenizer | None, list[Problem]]:
    """The tokenizer that a document names, set to cut at its ``max_tokens``; or what is wrong with it.

    An entry that is not there gives neither: that is another's to say.
    """
    read = entries.get(text.tokenizer)
    if read is None:
        return None, []
    raw = read()
    if len(raw) > MAX_TOKENIZER_BYTES:
        fault = f"{text.tokenizer!r} has {len(raw)} bytes; at most {MAX_TOKENIZER_BYTES} are read"
        return None, [Problem("input.tokenizer", fault)]
    from tokenizers import Tokenizer

    try:
        with _translated(f"{text.tokenizer!r} is no tokenizer.json that can be used"), panics_kept_back():
            tokenizer = Tokenizer.from_buffer(raw)
            tokenizer.no_padding()
            tokenizer.no_truncation()
            specials = max(tokenizer.num_special_tokens_to_add(pair) for pair in (False, True))
            pad = tokenizer.token_to_id(text.pad_token)
            tokenizer.enable_truncation(text.max_tokens)
            tokenizer.encode_batch([_SAMPLE, (_SAMPLE, _SAMPLE)])
    except EngineError as error:
        return None, [Problem("input.tokenizer", error.message)]
    faults = []
    if pad is None:
        faults.append(Problem("input.pad_token", f"{text.pad_token!r} is no token of {text.tokenizer!r}"))
    if text.max_tokens <= specials:
        fault = f"is {text.max_tokens}, but the tokenizer adds {specials} special tokens to a pair of texts"
        faults.append(Problem("input.max_tokens", fault))
    return (None, faults) if faults else (tokenizer, [])


def table_faults(text: TextInput, entries: Mapping[str, Callable[[], bytes]], rows: int | None) -> list[Problem]:
    """Demand that every id of a tokenizer that loads picks a row of the model's table, which has ``rows``."""
    tokenizer, _ = load_tokenizer(text, entries)
    if tokenizer is None or rows is None:
        return []
    token, largest = max(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: (item[1], item[0]))
    if largest < rows:
        return []
    fault = (
        f"{text.tokenizer!r} gives ids up to {largest} (token {token[:40]!r}), but {text.ids!r} picks from a table of "
        f"{rows} rows: expected ids below {rows}"
    )
    return [Problem("input.tokenizer", fault)]


class TextEncoder:
    """Texts to ids, mask and segment ids, all [rows, sequence], padded to the longest row.

    Args:
        text: The document's input, which fits ``signature``.
        signature: Of the model.
        tokenizer: Set to cut; it must not change any more.
        with_places: Whether to tell where each token stands, which costs some time.
    """

    def __init__(self, text: TextInput, signature: Signature, tokenizer: Tokenizer, *, with_places: bool) -> None:
        self._text = text
        self._tokenizer = tokenizer
        self._encode = tokenizer.encode_batch if with_places else tokenizer.encode_batch_fast
        self._with_places = with_places
        self._pad = tokenizer.token_to_id(text.pad_token) or 0
        specs = {spec.name: spec for spec in signature.inputs}
        self._dtypes = {name: np.dtype(specs[name].dtype) for name in text.filled}
        shape = specs[text.ids].shape
        self._length = shape[1] if shape is not None and isinstance(shape[1], int) else None

    def encode(self, inputs: RawInputs) -> Encoded:
        """See ports.Processor.encode."""
        if not isinstance(inputs, RawTexts):
            raise refused_input(["this model takes texts, not rows of a table"])
        _check_texts(inputs)
        given: Sequence[Any] = inputs.texts
        if inputs.pairs is not None:
            given = list(zip(inputs.texts, inputs.pairs, strict=True))
        with _translated("the tokenizer failed"), panics_kept_back(any_thread=False):
            found: list[Encoding] = self._encode(given)
        ids = [encoding.ids for encoding in found]
        if empty := [f"row {inputs.first_row + row}: gives no token" for row, tokens in enumerate(ids) if not tokens]:
            raise refused_input(empty)
        length = self._length or max(map(len, ids))
        if inputs.rows > 1 and inputs.rows * length > MAX_BATCH_TOKENS:
            fault = (
                f"{inputs.rows} rows of up to {length} tokens are too many at once; at most {MAX_BATCH_TOKENS} tokens"
            )
            raise refused_input([fault])
        mask = np.arange(length) < np.array([len(tokens) for tokens in ids])[:, None]
        feeds = {self._text.ids: self._padded(ids, mask, self._pad, self._text.ids)}
        if self._text.mask is not None:
            feeds[self._text.mask] = mask.astype(self._dtypes[self._text.mask])
        if self._text.types is not None:
            types = [encoding.type_ids for encoding in found]
            feeds[self._text.types] = self._padded(types, mask, 0, self._text.types)
        cut = tuple(
            row for row, tokens in enumerate(ids) if len(tokens) >= self._text.max_tokens and found[row].overflowing
        )
        places = _places(found, inputs) if self._with_places else ()
        return Encoded(feeds, inputs.rows, mask, places, cut)

    def _padded(self, rows: Sequence[Sequence[int]], mask: Array, pad: int, name: str) -> Array:
        filled = np.full(mask.shape, pad, self._dtypes[name])
        filled[mask] = [token for row in rows for token in row]
        return filled


def _check_texts(inputs: RawTexts) -> None:
    """Demand texts that a tokenizer takes, none of them enormous."""
    faults = []
    if inputs.pairs is not None and len(inputs.pairs) != len(inputs.texts):
        raise refused_input([f"there are {len(inputs.texts)} texts and {len(inputs.pairs)} second texts of pairs"])
    for part, texts in (("text", inputs.texts), ("text_pair", inputs.pairs or ())):
        for row, text in enumerate(texts):
            fault = _text_fault(text)
            if fault is not None:
                faults.append(f"row {inputs.first_row + row}, {part!r}: {fault}")
    if faults:
        raise refused_input(faults)


def _text_fault(text: object) -> str | None:
    if not isinstance(text, str):
        return f"expected text, found {type(text).__name__}"
    if len(text) > MAX_CHARACTERS:
        return f"has {len(text)} characters; at most {MAX_CHARACTERS} are taken"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds a lone surrogate, which is no character"
    return None


def _places(found: Sequence[Encoding], inputs: RawTexts) -> list[TokenPlaces]:
    texts = zip(inputs.texts) if inputs.pairs is None else zip(inputs.texts, inputs.pairs, strict=True)
    return [
        TokenPlaces(encoding.offsets, encoding.word_ids, encoding.sequence_ids, row)
        for encoding, row in zip(found, texts, strict=True)
    ]


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors and panics of the library as ours: ``pyo3_runtime.PanicException`` is a BaseException of its own."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        raise EngineError(f"{what}: {str(error)[:300]}", code="tokenizer.failed") from error
