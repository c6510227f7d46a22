"""An answer as a process keeps it, and whose it is."""

from collections.abc import Callable

from service.errors import KEY_REUSED, Failure, ServiceError
from service.kept.answer import KeptAnswer
from service.users.caller import Principal


class Entry:
    """An answer, the fingerprint of its question, and how it is stopped; None if another process reads it."""

    __slots__ = ("answer", "fingerprint", "interrupt", "key")

    def __init__(self, answer: KeptAnswer, fingerprint: str, interrupt: Callable[[Failure], None] | None) -> None:
        self.answer = answer
        self.fingerprint = fingerprint
        self.interrupt = interrupt
        self.key: tuple[Principal, str] | None = None

    def answer_to(self, fingerprint: str) -> KeptAnswer:
        """Returns the answer that has the key of a question. Raises ServiceError (400) if that was another one."""
        if self.fingerprint != fingerprint:
            raise ServiceError(KEY_REUSED)
        return self.answer

    def is_alone(self, now: float, seconds: float) -> bool:
        """Whether nobody has followed the answer here for so long."""
        return not self.answer.followers and now >= self.answer.alone_since + seconds


def may_have(user: Principal | None, owner: Principal) -> bool:
    """Whether `user` may have an answer of `owner`: a claimed user's is for whoever knows its id."""
    return not owner.owned or owner == user
