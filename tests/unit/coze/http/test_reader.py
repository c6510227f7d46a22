"""The reader of HTTP answers without a socket: the same is read of an answer however its bytes are cut."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from service.coze.http.reader import Reader

HEAD = b"HTTP/1.1 200 OK\r\nX-Kept: 1\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = HEAD + b"Content-Length: 5\r\n\r\n"
# What a part of an answer may take at most.
BOUND = 32 * 1024


class Read(NamedTuple):
    """What came of an answer; `end` is how it stands behind the last byte."""

    status: int | None
    body: bytes
    end: str
    reusable: bool = False


def read(pieces: Iterable[bytes]) -> tuple[Read, dict[str, str]]:
    reader, body = Reader(), b""
    for piece in pieces:
        body += reader.feed(piece)
        if reader.complete or reader.malformed:
            break
    # An answer that is complete stays so, whatever comes behind it.
    end = "complete" if reader.complete else "malformed" if reader.malformed else "open"
    if end == "open" and reader.ends_with_connection:
        end = "complete with the connection"
    answer, reusable = reader.answer, reader.reusable
    reader.close()
    return Read(answer.status if answer else None, body, end, reusable), dict(answer.headers) if answer else {}


ANSWERS: dict[str, tuple[bytes, Read]] = {
    "chunked": (CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", Read(200, b"abcde", "complete", True)),
    "sized": (SIZED + b"abcde", Read(200, b"abcde", "complete", True)),
    "empty": (HEAD + b"Content-Length: 0\r\n\r\n", Read(200, b"", "complete", True)),
    "no content": (b"HTTP/1.1 204 No Content\r\nX-Kept: 1\r\n\r\n", Read(204, b"", "complete", True)),
    "until the end": (HEAD + b"\r\nabcde", Read(200, b"abcde", "complete with the connection")),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nX-Kept: 1\r\n\r\nabc", Read(200, b"abc", "complete with the connection")),
    "the last": (SIZED.replace(b"X-K", b"Connection: close\r\nX-K") + b"abcde", Read(200, b"abcde", "complete")),
    "interim": (
        b"HTTP/1.1 100 Continue\r\nX-Kept: no\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SIZED + b"abcde",
        Read(200, b"abcde", "complete", True),
    ),
    "trailers": (
        CHUNKED + b"5\r\nabcde\r\n0\r\nX-Kept: no\r\nX-Tt-Logid: no\r\n\r\n",
        Read(200, b"abcde", "complete", True),
    ),
    "a length in the trailers": (
        CHUNKED + b"5\r\nabcde\r\n0\r\nContent-Length: 7\r\n\r\n",
        Read(200, b"abcde", "malformed"),
    ),
    "extensions": (CHUNKED + b'5;a=b;c="d"\r\nabcde\r\n0;e\r\n\r\n', Read(200, b"abcde", "complete", True)),
    "blanks behind a size": (CHUNKED + b"5 \r\nabcde\r\n0\r\n\r\n", Read(200, b"abcde", "complete", True)),
    "bare line feeds": (SIZED.replace(b"\r", b"") + b"abcde", Read(200, b"abcde", "complete", True)),
    "odd characters in a header": (
        SIZED.replace(b"X-K", b"X-Odd: \x01\xff\r\nX-K") + b"abcde",
        Read(200, b"abcde", "complete", True),
    ),
    "a header that only names chunks": (
        HEAD + b"X-Note: chunked\r\n\r\nabcde",
        Read(200, b"abcde", "complete with the connection"),
    ),
    "no reason": (SIZED.replace(b" OK", b"") + b"abcde", Read(200, b"abcde", "complete", True)),
    "a header twice": (
        SIZED.replace(b"\r\n\r\n", b"\r\nX-Kept: 2\r\n\r\n") + b"abcde",
        Read(200, b"abcde", "complete", True),
    ),
    "cut in a chunk": (CHUNKED + b"5\r\nabc", Read(200, b"abc", "open")),
    "cut before the last chunk": (CHUNKED + b"3\r\nabc\r\n", Read(200, b"abc", "open")),
    "cut in the body": (SIZED + b"abc", Read(200, b"abc", "open")),
    "cut in the head": (HEAD, Read(None, b"", "open")),
    "nothing": (b"", Read(None, b"", "open")),
    "no HTTP": (b"220 smtp.example.com ESMTP\r\n", Read(None, b"", "malformed")),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Read(None, b"", "malformed"),
    ),
    "two lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", Read(None, b"", "malformed")),
    "length and chunks": (
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        Read(None, b"", "malformed"),
    ),
    "a size that is none": (CHUNKED + b"3\r\nabc\r\nzz\r\n", Read(200, b"abc", "malformed")),
    "a chunk too long": (CHUNKED + b"3\r\nabcde\r\n", Read(200, b"abc", "malformed")),
}


def cuts(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_cut(name: str) -> None:
    data, expected = ANSWERS[name]
    for pieces in cuts(data):
        found, headers = read(pieces)
        assert found == expected, pieces
        if found.status is not None:
            assert headers["x-kept"] == "1", pieces
            assert "x-tt-logid" not in headers


@pytest.mark.parametrize("name", [name for name, (_, expected) in ANSWERS.items() if expected.end == "complete"])
@pytest.mark.parametrize("more", [SIZED + b"mine!", b"nonsense", b"\r\nHTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_what_comes_behind_an_answer_is_none_of_it(name: str, more: bytes) -> None:
    data, expected = ANSWERS[name]
    found, _ = read([data + more])
    assert found == expected._replace(reusable=False)


FLOODS = {
    "a reason": (b"HTTP/1.1 200 ", b"x" * 1000),
    "a name": (HEAD, b"x" * 1000),
    "a value": (HEAD + b"X-Long: ", b"x" * 1000),
    "headers": (HEAD, b"X-Many: xxxxxxxxxxxxxxxxxxx\r\n" * 30),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
    "interim headers": (b"", b"HTTP/1.1 103 Hints\r\nX-Many: xxxxxxxxxxxxxxxxxxx\r\n\r\n" * 20),
    "extensions": (CHUNKED + b"3;a=", b"x" * 1000),
    "a size": (CHUNKED, b"0" * 1000),
    "blanks": (CHUNKED + b"3", b" " * 1000),
    "a trailer": (CHUNKED + b"0\r\nX-Long: ", b"x" * 1000),
    "trailers": (CHUNKED + b"0\r\n", b"X-Many: xxxxxxxxxxxxxxxxxxx\r\n" * 30),
    "empty lines before": (b"", b"\r\n" * 500),
}


@pytest.mark.parametrize("name", FLOODS)
def test_every_part_has_a_bound(name: str) -> None:
    start, more = FLOODS[name]
    reader = Reader()
    reader.feed(start)
    taken = 0
    while not reader.malformed:
        assert taken <= BOUND, "that goes on for ever"
        reader.feed(more)
        taken += len(more)
    reader.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 " + b"x" * BOUND + b"\r\n",
        HEAD + b"X-Long: " + b"x" * BOUND + b"\r\n",
        HEAD + b"X-Many: x\r\n" * (BOUND // 11),
        b"HTTP/1.1 100 \r\n\r\n" * (BOUND // 17) + HEAD,
        b"HTTP/1.1 103 \r\nX-Long: " + b"x" * BOUND + b"\r\n\r\n" + HEAD,
    ],
    ids=["reason", "value", "headers", "interim", "interim headers"],
)
def test_a_head_that_is_too_long_is_so_at_once_too(head: bytes) -> None:
    """With the body behind it in one piece."""
    found, headers = read([head + b"Content-Length: 5\r\n\r\nabcde"])
    assert found == Read(None, b"", "malformed")
    assert not headers


def padded(start: bytes, length: int, end: bytes) -> bytes:
    return start + b"x" * (length - len(start) - len(end)) + end


@pytest.mark.parametrize("more", [0, 1])
def test_bounds_are_of_bytes_as_they_come(more: int) -> None:
    """The head, the trailers, and what is neither: each may have as many, and not one more."""
    head = padded(HEAD + b"X-Long: ", BOUND + more, b"\r\n\r\n")
    assert read([head])[0] == Read(None if more else 200, b"", "malformed" if more else "complete with the connection")
    # Each trailer is one line; the line behind them is none.
    trailers = padded(b"X-Long: ", BOUND + more, b"\r\n")
    end = ("malformed", False) if more else ("complete", True)
    assert read([CHUNKED + b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n"])[0] == Read(200, b"abc", *end)
    reader = Reader()
    assert reader.feed(CHUNKED + b"3\r\nabc\r\n") == b"abc"
    reader.feed(padded(b"3;a=", BOUND + more, b""))
    assert reader.malformed is bool(more)
    reader.close()


def test_a_long_answer_of_tiny_chunks_is_fine() -> None:
    reader, body = Reader(), 0
    reader.feed(CHUNKED)
    for _ in range(20_000):
        body += len(reader.feed(b"1;extension=of-some-length\r\n"))
        body += len(reader.feed(b"x\r\n"))
    assert not reader.malformed
    assert body == 20_000
    reader.close()
