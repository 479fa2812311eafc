"""Which requests the event loop runs itself: a thread would cost more than it frees."""

from __future__ import annotations

from hyperion.serving.protocol import InferenceRequest

QUICK_MS = 1.0
"""A model that runs faster than this is quick."""
SMALL_BODY_BYTES = 64 * 1024
"""Of it, requests up to this size are; larger ones unless they hold no more than what the warm-up measured."""
SMALL_RAW_BYTES = 2 * 1024
"""The same for raw requests: tokenizing takes longer than reading numbers, and the warm-up did not measure it."""


class QuickRuns:
    """What the warm-up showed of a model, as far as requests are judged by it.

    Args:
        run_ms: How long a run took.
        run_elements: Elements of the inputs that it was measured with.
    """

    def __init__(self, run_ms: float, run_elements: int) -> None:
        is_quick = run_ms < QUICK_MS
        self._body_bytes = SMALL_BODY_BYTES if is_quick else 0
        self._raw_bytes = SMALL_RAW_BYTES if is_quick else 0
        self._elements = run_elements if is_quick else 0

    def takes_any(self, body_bytes: int) -> bool:
        """Whether a body of this size is quick, whatever it holds."""
        return body_bytes < self._raw_bytes

    def takes(self, request: InferenceRequest, body_bytes: int) -> bool:
        """Whether this request is, which had a body of this size."""
        if request.raw is not None:
            return body_bytes < self._raw_bytes
        if body_bytes < self._body_bytes:
            return True
        feeds = request.feeds.values()  # a text's size says nothing of its length
        return sum(feed.size for feed in feeds) <= self._elements and all(feed.dtype != object for feed in feeds)
