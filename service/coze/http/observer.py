"""What is reported of each call to Coze, to whoever wants to know."""

from typing import Protocol

from service.coze.http.reader import Answer


class Call(Protocol):
    """One call to Coze: is told one of the two, once."""

    def answered(self, answer: Answer) -> None: ...

    def unanswered(self, cause: str) -> None: ...


class CallObserver(Protocol):
    """Is told of every call. Must not raise."""

    def begin_call(self, method: str, url: str, headers: dict[str, str]) -> Call:
        """A call begins, for whatever is being done now. May add to its `headers`."""
