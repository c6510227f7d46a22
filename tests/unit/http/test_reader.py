"""Requests from bytes, however they are cut: heads, bodies, what is too large and what is no HTTP."""

from collections.abc import Callable, Iterable

import pytest

from service.bounds import BOUNDS
from service.http.head import Head
from service.http.reader import RequestReader

GET = b"GET /a%20b?q=1 HTTP/1.1\r\nHost: x\r\nX-Odd:  blanX \t\r\n\r\n"
POST = b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;extension=1\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: is dropped\r\n\r\n"
)
UPGRADE = b"POST /e HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"


class Told:
    """What a reader tells, in one list; parts of a body in one piece."""

    def __init__(self) -> None:
        self.all: list[Head | bytes | str] = []

    def began(self, head: Head) -> None:
        self.all.append(head)

    def received(self, part: bytes) -> None:
        last = self.all[-1]
        if isinstance(last, bytes):
            self.all[-1] = last + part
        else:
            self.all.append(part)

    def completed(self) -> None:
        self.all.append("completed")

    def refused(self, message: str) -> None:
        self.all.append(f"refused: {message}")


def told(pieces: Iterable[bytes]) -> list[Head | bytes | str]:
    receiver = Told()
    reader = RequestReader(receiver)
    for piece in pieces:
        reader.feed(piece)
    return receiver.all


def refusals(pieces: Iterable[bytes]) -> list[Head | bytes | str]:
    return [one for one in told(pieces) if isinstance(one, str) and one.startswith("refused")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_requests_one_behind_the_other(size: int) -> None:
    data = GET + POST + CHUNKED + UPGRADE
    first, end, second, hello, _, third, other, _, fourth, hi, _ = told(
        data[at : at + size] for at in range(0, len(data), size)
    )
    assert first == Head("GET", ("/a%20b", b"q=1", None), "1.1", [(b"host", b"x"), (b"x-odd", b"blanX")], True)
    assert (end, hello, other, hi) == ("completed", b"hello", b"hello", b"hi")
    assert isinstance(second, Head)
    assert isinstance(third, Head)
    assert isinstance(fourth, Head)
    assert (second.method, second.target[0], second.headers[1]) == ("POST", "/c", (b"content-length", b"5"))
    assert third.headers == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]
    assert [name for name, _ in fourth.headers] == [b"host", b"connection", b"content-length"]


def test_a_request_is_open_from_its_first_byte_to_its_last() -> None:
    reader = RequestReader(Told())
    assert not reader.in_request
    reader.feed(POST[:1])
    assert reader.in_request
    reader.feed(POST[1:-1])
    assert reader.in_request
    reader.feed(POST[-1:])
    assert not reader.in_request


def test_the_target_is_known_while_the_head_is_read() -> None:
    reader = RequestReader(Told())
    reader.feed(b"GET /long")
    assert reader.url == b"/long"
    reader.feed(b"er HTTP/1.1\r\n")
    assert reader.url == b"/longer"
    reader.feed(b"\r\n")
    assert reader.url == b""


def test_http_1_0() -> None:
    head, end = told([b"GET / HTTP/1.0\r\n\r\n"])
    assert (head, end) == (Head("GET", ("/", b"", None), "1.0", [], False), "completed")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello\r\n\r\n", "Invalid HTTP request received."),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", "Invalid HTTP request received."),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "Invalid HTTP request received."),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", "Invalid HTTP request received."),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "This server is no proxy."),
    ],
)
def test_what_is_no_request(data: bytes, message: str) -> None:
    assert refusals([data])[0] == f"refused: {message}"
    assert not any(isinstance(one, Head) for one in told([data]))


def lines(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(count)) + b"\r\n"


def long_head(size: int) -> bytes:
    data = b"GET / HTTP/1.1\r\nx: "
    return data + b"y" * (size - len(data) - 4) + b"\r\n\r\n"


def extensions(size: int) -> bytes:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"1;" + b"x" * (size - len(head) - 2)


@pytest.mark.parametrize(
    ("make", "most", "message"),
    [
        (lines, BOUNDS.request_headers, "The request's headers are too many."),
        (long_head, BOUNDS.request_head_bytes, "The request's headers are too large."),
        (extensions, BOUNDS.request_head_bytes, "What is around the request's body is too large."),
    ],
)
def test_what_is_too_much(make: Callable[[int], bytes], most: int, message: str) -> None:
    """What a head's last piece holds is counted no more, as the head is whole by then."""

    def cut(data: bytes) -> list[bytes]:
        return [data[at : at + 1] for at in range(len(data))]

    assert refusals(cut(make(most))) == []
    assert f"refused: {message}" in refusals(cut(make(most + 2)))


def test_a_long_body_may_have_more_around_it() -> None:
    """In the smallest chunks there are six bytes of framing for each byte of the body."""
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    size = BOUNDS.request_head_bytes
    pieces = [head, *[b"1\r\nx\r\n"] * size, b"0\r\n\r\n", GET]
    assert refusals(pieces) == []
    assert told(pieces)[1:3] == [b"x" * size, "completed"]


def test_a_head_that_is_parsed_again_counts_once() -> None:
    head = UPGRADE.replace(b"Host", b"x-long: %b\r\nHost" % (b"y" * (BOUNDS.request_head_bytes - 500)))
    assert refusals(head[at : at + 1] for at in range(len(head))) == []


def test_each_request_is_counted_by_itself() -> None:
    assert refusals([long_head(BOUNDS.request_head_bytes - 500)] * 3) == []
