"""The body of a request, from the pieces in which it comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion.serving.received_body import (
    ALIGNMENT,
    BEGUN_BYTES,
    FIRST_ROOM_BYTES,
    LARGE_BYTES,
    MOST_PIECES,
    ReceivedBody,
)

Headers = list[tuple[bytes, bytes]]


def header(json_bytes: int) -> Headers:
    return [(b"inference-header-content-length", b"%d" % json_bytes)]


def expecting(size: int) -> ReceivedBody:
    body = ReceivedBody()
    body.expected = size
    return body


def write(body: ReceivedBody, data: bytes) -> None:
    """As a transport does: so much as there is room for, until all is written."""
    while data:
        room = body.room()
        size = min(len(room), len(data))
        room[:size], data = data[:size], data[size:]
        body.grew(size)


def test_what_came_at_once_is_not_copied() -> None:
    body, piece = ReceivedBody(), b"all of it"
    body.add(piece)
    assert body.whole([]) is piece


@pytest.mark.parametrize("pieces", [MOST_PIECES - 1, MOST_PIECES, MOST_PIECES + 1, 3 * MOST_PIECES + 5])
@pytest.mark.parametrize("placed", [False, True])
def test_many_small_pieces_stay_in_their_order(pieces: int, *, placed: bool) -> None:
    body = expecting(2 * pieces)
    sent = b"".join(b"%02d" % (number % 97) for number in range(pieces))
    for begin in range(0, len(sent), 2):
        body.add(sent[begin : begin + 2])
    if placed:
        body.take_place([])
    assert bytes(body.whole([])) == sent


@given(
    pieces=st.lists(st.binary(max_size=40), min_size=1),
    written=st.lists(st.binary(max_size=40)),
    json_bytes=st.integers(0, 99),
)
def test_pieces_and_what_is_written_behind_them_are_one_body(
    pieces: list[bytes], written: list[bytes], json_bytes: int
) -> None:
    # given
    right = b"".join((*pieces, *written))
    body = expecting(len(right))

    # when
    for piece in pieces:
        body.add(piece)
    body.take_place(header(json_bytes))
    for piece in written:
        write(body, piece)

    # then
    assert (bytes(body.whole(header(json_bytes))), body.is_complete) == (right, True)


@pytest.mark.parametrize("json_bytes", [0, 1, 15, 16, 203])
@pytest.mark.parametrize("size", [LARGE_BYTES, FIRST_ROOM_BYTES - 1, 3 * FIRST_ROOM_BYTES + 5])
def test_the_tensors_of_a_body_with_a_place_lie_aligned_and_are_not_written_to(json_bytes: int, size: int) -> None:
    # given
    data = np.random.default_rng(0).bytes(size)
    body = expecting(size)
    body.add(data[:1000])

    # when
    body.take_place(header(json_bytes))
    write(body, data[1000:])

    # then
    whole = body.whole(header(json_bytes))
    tensors = np.frombuffer(whole, np.uint8)[json_bytes:]
    assert bytes(whole) == data
    assert (tensors.ctypes.data % ALIGNMENT, tensors.flags.writeable) == (0, False)


def test_a_great_length_alone_makes_no_great_place() -> None:
    # given: a client that says a gigabyte, and sends little of it
    body = expecting(1024**3)
    body.add(bytes(LARGE_BYTES))
    body.take_place([])
    places = [len(body.room()) + body.size]

    # when it goes on
    while body.size < 5 * FIRST_ROOM_BYTES:
        size = min(len(body.room()), 300_000)
        body.grew(size)
        places.append(len(body.room()) + body.size)

        # then
        assert places[-1] <= max(FIRST_ROOM_BYTES, 2 * body.size)
    assert len(set(places)) < 6, "it is not copied with every piece"


def test_there_is_room_for_no_more_than_is_expected() -> None:
    body = expecting(LARGE_BYTES + 7)
    body.add(bytes(LARGE_BYTES))
    body.take_place([])
    assert len(body.room()) == 7


@pytest.mark.parametrize(
    ("came", "expected", "is_so"),
    [
        (BEGUN_BYTES, BEGUN_BYTES + LARGE_BYTES, True),
        (BEGUN_BYTES, BEGUN_BYTES + LARGE_BYTES - 1, False),  # the rest is small
        (BEGUN_BYTES - 1, 9 * LARGE_BYTES, False),  # who said it has shown little
        (9 * LARGE_BYTES, None, False),  # chunked: nobody said
    ],
)
def test_a_body_is_largely_missing_where_much_came_and_as_much_is_to_come(
    came: int, expected: int | None, is_so: bool
) -> None:
    body = ReceivedBody()
    body.expected = expected
    body.add(bytes(came))
    assert body.is_largely_missing is is_so
