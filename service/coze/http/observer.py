"""The interface through which each call to Coze is reported."""

from typing import Protocol

from service.coze.http.reader import Answer


class Call(Protocol):
    """Receives the end of a call: one of the two, once."""

    def answered(self, answer: Answer) -> None: ...

    def unanswered(self, cause: str) -> None: ...


class CallObserver(Protocol):
    """Receives the beginning of every call. Must not raise."""

    def begin_call(self, method: str, url: str, headers: dict[str, str]) -> Call:
        """Reports a call that begins in the current context. May add to its `headers`."""
