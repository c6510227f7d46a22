"""The body of Coze's answer to a chat: from bytes to events, or to the error that it holds instead."""

from service.bounds import BOUNDS
from service.clock import timestamp
from service.coze import wire
from service.coze.errors import BROKE_OFF, NOT_UNDERSTOOD, Asked, coze_failure
from service.coze.http import Answer
from service.coze.sse import EventParser, EventTooLarge
from service.coze.translation import ChatEvent, Translation
from service.errors import ServiceError


class ChatBody:
    """Parser of the body of `answer`, fed with bytes as they arrive."""

    def __init__(self, answer: Answer, asked: Asked, translation: Translation) -> None:
        self._answer = answer
        self._asked = asked
        self._translation = translation
        self._kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._is_stream = answer.status == 200 and self._kind in ("text/event-stream", "")
        self._parser = EventParser()
        self._plain: bytearray | None = bytearray()  # the body so far, while it may still be no event stream

    def feed(self, chunk: bytes, events: list[ChatEvent]) -> bool:
        """Appends the caller's events in `chunk` to `events`. Returns whether it held any event or comment of Coze's.

        Raises ServiceError once Coze fails the chat or cannot be understood.
        """
        if not self._is_stream:
            self._keep(chunk)
            return False
        parser, translation = self._parser, self._translation
        seen = parser.blocks
        now = timestamp()
        try:
            for name, data in parser.feed(chunk):
                translation.feed(name, data, events, now)
        except EventTooLarge:
            raise ServiceError(NOT_UNDERSTOOD, cause="an event without end") from None
        if parser.blocks == seen:
            self._keep(chunk)
            return False
        self._plain = None
        return True

    def _keep(self, chunk: bytes) -> None:
        if self._plain is None:
            return
        self._plain += chunk
        if len(self._plain) > BOUNDS.coze_no_stream_bytes:
            if not self._is_stream:
                raise self.error()
            self._plain = None

    def error(self) -> ServiceError:
        """Returns the error for a body that ended before the chat did: perhaps it is JSON that names one."""
        status = self._answer.status
        cause = f"HTTP {status}, {self._kind or 'no content type'}"
        if self._is_stream:
            if self._plain is None or not self._plain.lstrip().startswith(b"{"):
                return ServiceError(BROKE_OFF, cause="the stream ended early")
            cause = "JSON in place of events"
        try:
            code = wire.decode_envelope(bytes(self._plain or b"")).code or None
        except wire.UNDECODABLE:
            code = None
        if code is None and status == 200:
            return ServiceError(NOT_UNDERSTOOD, cause=cause)
        failure = coze_failure(self._asked, code=code, status=status)
        return ServiceError(failure, code=code, cause=cause, retry_after=self._answer.retry_after)
