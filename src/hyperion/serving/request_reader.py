"""Requests of one connection, out of its bytes: httptools' parser, and what a request may be."""

from __future__ import annotations

import logging
import urllib.parse
from functools import lru_cache
from typing import Protocol

import httptools

from hyperion.serving.door import Door
from hyperion.serving.protocol import Body, Headers
from hyperion.serving.received_body import ReceivedBody

UPGRADE_HEADERS = (b"upgrade", b"http2-settings")
_log = logging.getLogger(__name__)


class Requested(Protocol):
    """Who is told what was read."""

    def requested(self, method: bytes, path: str, headers: Headers, body: Body, *, keeps: bool) -> None:
        """A request is complete; ``keeps`` says whether its client keeps the connection after the answer."""

    def refuse(self, status: int, cause: str, message: str) -> None:
        """What comes is not to be answered otherwise; nothing more is told afterwards."""

    def invite(self) -> None:
        """A client waits for leave to send the body of its request."""


class RequestReader:
    """Tells of complete requests, so that limits on header and body stand in one place.

    Args:
        door: Of the worker.
        told: Whom to tell.

    Attributes:
        receiving: Whether a request has begun and is not complete.
        size: Bytes that have come since its beginning, its header or the last of its body; also 0 where nothing has.
    """

    def __init__(self, door: Door, told: Requested) -> None:
        self.receiving = False
        self.size = 0
        self._door = door
        self._limits = door.limits
        self._told = told
        self._ended = False
        self._in_header = False
        self._url = b""
        self._path = ""
        self._headers: Headers = []
        self._body = ReceivedBody()
        self._parser = _parser(self)

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        self.size += len(data)
        rest = self._parse(data)
        while rest is not None:
            rest = self._parse(rest)
        if self.receiving and self.size > self._limits.max_header_bytes:
            self._refuse_header()  # or what is between the chunks of a body, or behind them

    def placed_body(self) -> ReceivedBody | None:
        """The body whose rest is now to be written to its place, past the parser; None where it is to be fed."""
        if self._in_header or not self.receiving or not self._body.is_largely_missing:
            return None
        self._body.take_place(self._headers)
        return self._body

    def body_complete(self) -> None:
        """All of the placed body is there; the parser, which would wait for it, is replaced."""
        self.on_message_complete()
        self._parser = _parser(self)

    def end(self) -> None:
        """Tell nothing more: neither of what is half here, nor of what comes."""
        self._ended = True
        self.receiving = self._in_header = False
        self._body = ReceivedBody()

    def release(self) -> None:
        """Free what refers to each other; the connection is gone."""
        self.end()
        del self._parser, self._told

    def _parse(self, data: bytes | memoryview) -> memoryview | None:
        """Returns what is still to be parsed, behind a header that offers to upgrade."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._ended:
                self._ignore_upgrade()
                return memoryview(data)[upgrade.args[0] :]
        except httptools.HttpParserCallbackError:
            _log.exception("a request could not be read")
            if not self._ended:
                self._refuse(500, "internal", "internal error; the worker's log has the cause")
        except httptools.HttpParserError:
            if not self._ended:
                self._refuse(400, "bad_request", "the bytes are no HTTP request")
        return None

    def _ignore_upgrade(self) -> None:
        """Read a request anew without its offer to upgrade (some clients offer HTTP/2 with every request).

        The parser takes an upgrade for granted and would give the body to the next protocol.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        if method == b"CONNECT":
            self._refuse(400, "bad_request", "CONNECT is not served")
            return
        kept = [(n, _without_upgrade(v) if n == b"connection" else v) for n, v in self._headers]
        lines = b"".join([b"%b: %b\r\n" % item for item in kept if item[0] not in UPGRADE_HEADERS])
        self._parser = _parser(self)
        self._parse(b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, lines))

    # --- the parser's events ---

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._body = ReceivedBody()
        self.receiving = self._in_header = not self._ended

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_header:  # not what follows a body in chunks: nothing there is asked for
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_header = False
        if self._ended or self._parser.should_upgrade():
            return
        self.size = 0
        size, announced, waits, coding = len(self._url), 0, False, b"identity"
        for name, value in self._headers:
            size += len(name) + len(value) + 4
            if name == b"content-length":
                announced = self._body.expected = int(value)
            elif name == b"expect":
                waits = waits or value.lower() == b"100-continue"
            elif name == b"content-encoding":
                coding = value
        if size > self._limits.max_header_bytes:
            self._refuse_header()
            return
        if announced > (limit := self._limits.max_body_bytes):
            self._refuse(413, "too_large", f"the body has {announced} bytes; at most {limit} are accepted")
            return
        if (path := _path_of(self._url)) is None:
            self._refuse(400, "bad_request", "what is asked for is no path")
            return
        self._path = path
        if (no := self._door.keys.refusal(self._path, self._headers)) is not None:
            self._refuse(*no)
        elif coding.lower() != b"identity":
            named = coding[:100].decode("latin-1")
            self._refuse(415, "bad_request", f"the content coding {named!r} is not taken; send the body as it is")
        elif waits and self._parser.get_http_version() != "1.0":  # whose clients would take it for the answer
            self._told.invite()

    def on_body(self, body: bytes) -> None:
        if self._ended:
            return
        self.size = 0
        self._body.add(body)
        if self._body.size > (limit := self._limits.max_body_bytes):
            self._refuse(413, "too_large", f"the body has more than {limit} bytes, the most that is accepted")

    def on_message_complete(self) -> None:
        parser = self._parser
        if self._ended or parser.should_upgrade():
            return
        self.receiving = False
        self.size = 0
        body, self._body = self._body.whole(self._headers), ReceivedBody()
        keeps = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        self._told.requested(parser.get_method(), self._path, self._headers, body, keeps=keeps)

    # --- refusals ---

    def _refuse(self, status: int, cause: str, message: str) -> None:
        self.end()
        self._told.refuse(status, cause, message)

    def _refuse_header(self) -> None:
        limit = self._limits.max_header_bytes
        self._refuse(431, "too_large", f"the header has more than {limit} bytes, the most that is accepted")


def _parser(reader: RequestReader) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(reader)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # what comes behind a last request is passed over
    return parser


@lru_cache(maxsize=64)
def _path_of(url: bytes) -> str | None:
    """The path of a request's target, decoded; None where it has none."""
    try:
        path = (httptools.parse_url(url).path or b"/").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return None
    return urllib.parse.unquote(path) if "%" in path else path


def _without_upgrade(options: bytes) -> bytes:
    """What else a Connection header says: a close stays one."""
    return b",".join([option for option in options.split(b",") if option.strip().lower() not in UPGRADE_HEADERS])
