"""Which requests run in the event loop."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.domain.raw_input import RawTexts
from hyperion.ports import Array
from hyperion.serving.protocol import InferenceRequest
from hyperion.serving.quick_runs import QUICK_MS, SMALL_BODY_BYTES, SMALL_RAW_BYTES, QuickRuns

IMAGE = 3 * 224 * 224
QUICK = QuickRuns(QUICK_MS / 2, IMAGE)
SLOW = QuickRuns(QUICK_MS, IMAGE)


def holding(*feeds: Array) -> InferenceRequest:
    return InferenceRequest(None, {f"x{number}": feed for number, feed in enumerate(feeds)}, ("y",))


def floats(count: int) -> Array:
    return np.zeros((1, count), np.float32)


@pytest.mark.parametrize(
    ("request_", "body_bytes", "is_quick"),
    [
        (holding(floats(9)), SMALL_BODY_BYTES - 1, True),
        (holding(floats(2 * IMAGE)), SMALL_BODY_BYTES - 1, True),
        (holding(floats(IMAGE)), 4 * IMAGE, True),
        (holding(floats(IMAGE + 1)), 4 * IMAGE, False),
        (holding(floats(IMAGE), floats(1)), 4 * IMAGE, False),
        (holding(np.array(["long"], object)), SMALL_BODY_BYTES, False),
    ],
)
def test_a_quick_model_runs_what_is_small_or_no_more_than_was_measured(
    request_: InferenceRequest, body_bytes: int, *, is_quick: bool
) -> None:
    assert QUICK.takes(request_, body_bytes) is is_quick


@pytest.mark.parametrize(("body_bytes", "is_quick"), [(SMALL_RAW_BYTES - 1, True), (SMALL_RAW_BYTES, False)])
def test_raw_requests_must_be_smaller_since_their_tokenizing_was_not_measured(
    body_bytes: int, *, is_quick: bool
) -> None:
    request = InferenceRequest(None, {}, ("y",), raw=RawTexts(["a"]))
    assert (QUICK.takes(request, body_bytes), QUICK.takes_any(body_bytes)) == (is_quick, is_quick)


def test_a_slow_model_never_runs_in_the_loop() -> None:
    assert not SLOW.takes(holding(floats(1)), 1)
    assert not SLOW.takes_any(1)
