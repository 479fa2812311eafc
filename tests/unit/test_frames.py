"""Forwarded requests over a socket pair: answers find their questions, and nobody waits for a lost candidate."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperion.serving.frames import Answer, Frame, FrameDoor, FrameLink, FrameStream, Headers, Question
from hyperion.serving.router import Router
from hyperion.serving.telemetry import FALLBACKS, FORWARDED, Slot, SlotLabels

MOST = 1 << 20
IDENTITY = [(b"hyperion-revision", b"2")]
Reply = tuple[int, Headers, bytes]


async def echo(body: bytes, _json_bytes: int | None) -> Reply:
    return 200, [(b"x", b"y")], body


class Heard(FrameStream):
    def __init__(self) -> None:
        super().__init__(MOST)
        self.frames: list[Frame] = []

    def heard(self, frame: Frame) -> None:
        self.frames.append(frame)


class Pipe(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def linked(
    answer: Callable[[bytes, int | None], Awaitable[Reply]] = echo,
    at_once: Callable[[bytes, int | None], Reply | None] = lambda _body, _json_bytes: None,
) -> AsyncIterator[tuple[FrameLink, FrameDoor]]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    gone = asyncio.Event()
    _, door = await loop.connect_accepted_socket(
        lambda: FrameDoor(MOST, IDENTITY, at_once, answer, lambda _door: gone.set()), theirs
    )
    _, link = await loop.create_unix_connection(lambda: FrameLink(MOST), sock=ours)
    try:
        yield link, door
    finally:
        link.close()
        await asyncio.wait_for(gone.wait(), 5)


def ask(link: FrameLink, body: bytes) -> asyncio.Future[Answer | None]:
    """The answer to come; None where it does not."""
    told: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    link.ask(body, None, told.set_result)
    return told


async def answered(link: FrameLink, body: bytes) -> Answer:
    found = await ask(link, body)
    assert found is not None
    return found


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  (what is waited for are turns of the loop)
        await asyncio.sleep(0)


def run(talk: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(talk(), 20))


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=10), st.integers(1, 50))
def test_frames_survive_being_cut_anywhere(bodies: list[bytes], piece: int) -> None:
    sender, pipe, receiver = Heard(), Pipe(), Heard()
    sender.connection_made(pipe)
    sent = [Question(number, body) for number, body in enumerate(bodies)]
    for frame in sent:
        sender.send(frame)
    for start in range(0, len(pipe.written), piece):
        receiver.data_received(pipe.written[start : start + piece])
    assert receiver.frames == sent


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x00\x00\x02\x92\x09"])
def test_a_peer_that_breaks_the_form_is_cut_off(garbage: bytes) -> None:
    receiver, pipe = Heard(), Pipe()
    receiver.connection_made(pipe)
    receiver.data_received(garbage)
    assert pipe.closed
    assert receiver.frames == []


def test_answers_find_their_questions_in_any_order() -> None:
    waiting: dict[bytes, asyncio.Event] = {}

    async def answer(body: bytes, _json_bytes: int | None) -> Reply:
        waiting[body] = asyncio.Event()
        await waiting[body].wait()
        return 200, [], body

    async def talk() -> None:
        async with linked(answer) as (link, _):
            asked = {body: ask(link, body) for body in (b"a", b"b", b"c")}
            await until(lambda: len(waiting) == 3)
            for body in (b"c", b"a", b"b"):
                waiting[body].set()
                found = await asked[body]
                assert found is not None
                assert found.body == body
            assert link.unanswered == 0

    run(talk)


def test_who_answers_says_who_it_is_and_small_answers_need_no_task() -> None:
    async def never(_body: bytes, _json_bytes: int | None) -> Reply:
        raise AssertionError("not asked")

    async def talk() -> None:
        async with linked(never, lambda body, _json_bytes: (503, [(b"retry-after", b"1")], body)) as (link, _):
            found = await answered(link, b"x")
            assert (found.status, found.headers, found.body) == (503, [(b"retry-after", b"1")], b"x")
            assert link.identity_lines == b"hyperion-revision: 2\r\n"

    run(talk)


def test_a_large_body_passes() -> None:
    async def talk() -> None:
        async with linked() as (link, _):
            assert (await answered(link, b"x" * 900_000)).body == b"x" * 900_000

    run(talk)


def test_a_lost_candidate_fails_what_waits_for_it() -> None:
    async def forever(_body: bytes) -> Reply:
        return await asyncio.get_running_loop().create_future()

    async def talk() -> None:
        async with linked(forever) as (link, door):
            asked = ask(link, b"x")
            await asyncio.sleep(0)
            door.close()
            assert await asked is None
            assert not link.takes_questions

    run(talk)


def test_an_answer_that_is_too_late_is_given_up() -> None:
    async def forever(_body: bytes) -> Reply:
        return await asyncio.get_running_loop().create_future()

    async def talk() -> None:
        async with linked(forever) as (link, _):
            asked = ask(link, b"x")
            link.expire(60.0)
            assert not asked.done()
            link.expire(-1.0)
            assert await asked is None
            link.heard(Answer(1, 200, [], b"late"))
            assert link.takes_questions

    run(talk)


def test_a_candidate_that_says_goodbye_still_answers_what_was_asked() -> None:
    release = asyncio.Event()

    async def answer(body: bytes, _json_bytes: int | None) -> Reply:
        await release.wait()
        return 200, [], body

    async def talk() -> None:
        async with linked(answer) as (link, door):
            asked = ask(link, b"x")
            door.say_goodbye()
            await until(lambda: not link.takes_questions)
            assert link.is_open
            release.set()
            found = await asked
            assert found is not None
            assert found.body == b"x"
            await until(lambda: not link.is_open)

    run(talk)


@pytest.mark.parametrize(
    "answer",
    [
        (200, [(b"x", b"y\r\nset-cookie: z")], b""),
        (200, [(b"x\ny", b"z")], b""),
        (200, [(b"x", b"y\0")], b""),
        (200, [(b"x y", b"z")], b""),
        (200, [(b"", b"z")], b""),
        (200, [(b"Content-Length", b"3")], b"abc"),
        (200, [(b"transfer-encoding", b"chunked")], b"0\r\n\r\n"),
        (200, [(b"connection", b"keep-alive")], b""),
        (99, [], b""),
        (1000, [], b""),
        (204, [], b"HTTP/1.1 200 OK\r\n\r\n"),
        (304, [], b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_an_answer_that_would_break_the_clients_is_cut_off(answer: Reply) -> None:
    async def talk() -> None:
        async with linked(at_once=lambda _body, _json_bytes: answer) as (link, _):
            assert await ask(link, b"x") is None

    run(talk)


async def forwarded(router: Router, slot: Slot) -> tuple[Answer, bytes] | None:
    """What the router tells of one request."""
    told: asyncio.Future[tuple[Answer, bytes] | None] = asyncio.get_running_loop().create_future()
    router.forward(b"x", None, slot, told.set_result)
    return await told


class TestRouter:
    @pytest.fixture
    def slot(self, tmp_path: Path) -> Slot:
        return Slot(tmp_path, "r1-w0", SlotLabels("shop", "m", "1", 1))

    def test_candidates_take_turns_and_a_lost_one_is_left_out(self, slot: Slot) -> None:
        async def talk() -> None:
            async with (
                linked(at_once=lambda _body, _json_bytes: (200, [], b"one")) as (one, door),
                linked(at_once=lambda _body, _json_bytes: (200, [], b"two")) as (two, _),
            ):
                router = Router(10, 1.0)
                router.route(2, 1.0, [one, two], None)
                assert {await body(router) for _ in range(4)} == {b"one", b"two"}
                door.close()
                await until(lambda: not one.takes_questions)
                assert {await body(router) for _ in range(4)} == {b"two"}

        async def body(router: Router) -> bytes | None:
            found = await forwarded(router, slot)
            return None if found is None else found[0].body

        run(talk)
        assert (slot.counters[FORWARDED], slot.counters[FALLBACKS]) == (8, 0)

    def test_where_no_candidate_answers_it_says_so_and_counts(self, slot: Slot) -> None:
        async def talk() -> None:
            router = Router(10, 1.0)
            router.route(2, 1.0, [], None)
            assert router.chooses([])
            assert await forwarded(router, slot) is None

        run(talk)
        assert (slot.counters[FORWARDED], slot.counters[FALLBACKS]) == (1, 1)

    def test_a_candidate_with_too_much_to_answer_is_asked_no_more(self, slot: Slot) -> None:
        async def forever(_body: bytes) -> Reply:
            return await asyncio.get_running_loop().create_future()

        async def talk() -> None:
            async with linked(forever) as (link, _):
                router = Router(2, 1.0)
                router.route(2, 1.0, [link], None)
                asked = [ask(link, b"x") for _ in range(2)]
                assert await forwarded(router, slot) is None
                link.expire(-1.0)
                assert await asyncio.gather(*asked) == [None, None]

        run(talk)

    def test_a_share_of_nothing_closes_the_links_with_their_last_answers(self, slot: Slot) -> None:
        async def talk() -> None:
            async with linked() as (link, _):
                router = Router(2, 1.0)
                router.route(2, 0.5, [link], None)
                last = ask(link, b"x")
                router.stop()
                assert (router.is_on, router.revision, link.is_open) == (False, None, True)
                await last
                assert not link.is_open

        run(talk)

    def test_a_client_without_the_sticky_header_is_drawn_like_any_other(self) -> None:
        router = Router(2, 1.0)
        router.route(2, 0.5, [], "X-Client")
        known = [(b"host", b"x"), (b"x-client", b"me")]
        assert len({router.chooses(known) for _ in range(50)}) == 1
        assert sum(router.chooses([(b"host", b"x")]) for _ in range(100)) == 50
