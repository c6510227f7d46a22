"""A Coze that costs next to nothing: `python -m benchmarks.upstream PORT`.

It keeps no state. A question says how it is to be answered, such as "n=200 d=10 w=1": `n` deltas, `d` milliseconds
before each write, `w` deltas in a write. A chat that is not streamed is complete when its stream would be. Each delta
begins with the time of its write, in monotonic nanoseconds: the load reads from it how long it was on its way.
"""

import asyncio
import re
import sys
import time
from typing import cast

import httptools

try:
    import uvloop
except ImportError:  # Windows
    run = asyncio.run
else:
    run = uvloop.run

_SETTING = re.compile(rb"\b([ndw])=(\d+)")
_CHAT_ID = re.compile(rb"[?&]chat_id=(\d+)")
_STREAM = re.compile(rb'"stream": ?true')

_CONVERSATION = b'"conversation_id":"7600000000000000001","bot_id":"7600000000000000002"'
_USAGE = b'"usage":{"token_count":240,"output_count":200,"input_count":40}'
_CHAT = b'{"id":"%s",' + _CONVERSATION + b',"created_at":1790000000,"last_error":{"code":0,"msg":""},"status":"%s",'
_CHAT += _USAGE + b"}"
_MESSAGE = b'{"id":"7600000000000000003",' + _CONVERSATION + b',"role":"assistant","type":"answer","content":"%s",'
_MESSAGE += b'"content_type":"text","chat_id":"7600000000000000004"}'
_EVENT = b"event:%s\ndata:%s\n\n"

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Tt-Logid: 20261122\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Tt-Logid: 20261122\r\nContent-Length: %d\r\n\r\n"
_STREAMED_ID = b"7600000000000000004"
_WORD = "好的 ".encode()
_OPENING = b"".join(
    _EVENT % (b"conversation.chat." + status, _CHAT % (_STREAMED_ID, status)) for status in (b"created", b"in_progress")
)


def _delta(now: int) -> bytes:
    return _EVENT % (b"conversation.message.delta", _MESSAGE % (b"%d %s" % (now, _WORD)))


def _closing(deltas: int) -> bytes:
    message = _MESSAGE % (_WORD * deltas)
    chat = _CHAT % (_STREAMED_ID, b"completed")
    return (
        _EVENT % (b"conversation.message.completed", message)
        + _EVENT % (b"conversation.chat.completed", chat)
        + _EVENT % (b"done", b'"[DONE]"')
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    """One connection, and the one chat that is being answered on it."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own is one in all but name.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        if path == b"/v3/chat":
            asked = {name: int(value) for name, value in _SETTING.findall(self._body)}
            deltas, pause, at_once = asked.get(b"n", 20), asked.get(b"d", 0) / 1000, asked.get(b"w", 1)
            if _STREAM.search(self._body):
                self._stream(deltas, pause, at_once)
            else:
                # All that is to be known later is in the chat's id.
                ready = time.monotonic_ns() // 1_000_000 + int(deltas / at_once * pause * 1000)
                self._answer(_CHAT % (b"%d%06d" % (ready, deltas), b"in_progress"))
        elif path == b"/v3/chat/retrieve":
            chat_id = self._chat_id()
            over = time.monotonic_ns() // 1_000_000 >= int(chat_id[:-6])
            self._answer(_CHAT % (chat_id, b"completed" if over else b"in_progress"))
        elif path == b"/v3/chat/message/list":
            self._answer(b"[" + _MESSAGE % (_WORD * int(self._chat_id()[-6:])) + b"]")
        else:
            self._answer(b"{}")

    def _chat_id(self) -> bytes:
        found = _CHAT_ID.search(self._url)
        return found[1] if found else b"0000000"

    def _answer(self, data: bytes) -> None:
        body = b'{"code":0,"msg":"","data":' + data + b"}"
        self._transport.write(_JSON_HEAD % len(body) + body)

    def _stream(self, deltas: int, pause: float, at_once: int) -> None:
        if deltas <= at_once and not pause:
            answer = _OPENING + _delta(time.monotonic_ns()) * deltas + _closing(deltas)
            self._transport.write(_STREAM_HEAD + _chunk(answer) + b"0\r\n\r\n")
            return
        self._transport.write(_STREAM_HEAD + _chunk(_OPENING))
        loop = asyncio.get_running_loop()
        left = deltas

        def write(due: float) -> None:
            nonlocal left
            now = min(left, at_once)
            left -= now
            self._transport.write(_chunk(_delta(time.monotonic_ns()) * now))
            if left:
                # Counted from when it was due: a late write does not put off the others.
                self._timer = loop.call_at(due + pause, write, due + pause)
            else:
                self._transport.write(_chunk(_closing(deltas)) + b"0\r\n\r\n")

        first = loop.time() + pause
        self._timer = loop.call_at(first, write, first)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    run(_serve(int(sys.argv[1])))
