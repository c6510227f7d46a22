"""An answer as processes tell each other about it: what was asked, its events in portions, and its end."""

import msgspec

from service.bounds import BOUNDS
from service.errors import ANSWER_LOST, Failure, ServiceError
from service.kept.answer import KeptAnswer, Status
from service.store import Addition, Entry
from service.users.caller import Principal

# What is known of the question.
ABOUT = ("question", "asked", "begun", "mode", "request_id")


class _End(msgspec.Struct):
    """The end of an answer, as others are told."""

    status: Status
    failure: Failure | None = None
    message: str | None = None
    retry_after: int | None = None
    code: int | None = None


_decode_end = msgspec.json.Decoder(_End).decode


class Published:
    """An answer that this process reads, how much of it the store has, and what the store is to know about it.

    One that is `given_up` is not read: nobody knows whether the store has it, and there it is to end.
    """

    __slots__ = ("about", "answer", "ended", "given_up", "key", "named", "number")

    def __init__(self, answer: KeptAnswer, key: str | None, about: dict[str, str], *, given_up: bool = False) -> None:
        self.answer = answer
        self.key = key
        self.about = about
        self.number = 0
        self.named = False
        self.ended = False
        self.given_up = given_up

    @property
    def news(self) -> bool:
        """Whether there is more than the store has."""
        over = self.answer.status is not Status.IN_PROGRESS
        return self.number < len(self.answer.parts) or (over and not self.ended)

    def addition(self) -> Addition:
        """Returns what the store is to have next."""
        answer, first, size, parts = self.answer, self.number + 1, 0, list[bytes]()
        for number in range(first, len(answer.parts) + 1):
            # The last event goes together with the one before and the end, so that no answer has half an end.
            if size >= BOUNDS.answers_sent_bytes and number < len(answer.parts):
                break
            parts.append(answer.parts[number - 1])
            size += len(parts[-1])
        whole = answer.status is not Status.IN_PROGRESS and self.number + len(parts) == len(answer.parts)
        ids = None
        if answer.conversation_id and answer.chat_id and not self.named:
            ids = answer.conversation_id, answer.chat_id
        # Nobody has had anything of an answer that was lost before its first event.
        never_begun = not answer.parts and answer.failure is not None and answer.failure.failure is ANSWER_LOST
        return Addition(answer.answer_id, first, parts, ids, _end(answer) if whole else None, never_begun)


def owner_of(about: dict[str, str]) -> Principal:
    """Returns the user of an answer of which this is known."""
    return Principal(about["user_id"], owned=about["owned"] == "1")


def known_of(answer: KeptAnswer) -> dict[str, str]:
    """Returns what is known of an answer before it is asked for."""
    return {"user_id": answer.user.user_id, "owned": str(int(answer.user.owned)), "bot_id": answer.bot_id}


def name_of(user: Principal) -> str:
    """Returns a name of a user that no claimed one shares with a proven one."""
    return f"{int(user.owned)}{user.user_id}"


def _end(answer: KeptAnswer) -> bytes:
    error = answer.failure
    if error is None:
        return msgspec.json.encode(_End(answer.status))
    return msgspec.json.encode(_End(answer.status, error.failure, error.message, error.retry_after, error.code))


def feed(answer: KeptAnswer, entries: list[Entry]) -> None:
    """Adds to a mirror what another process has published."""
    for entry in entries:
        if entry.over:
            end = _decode_end(entry.data)
            failure = end.failure and ServiceError(end.failure, end.message, retry_after=end.retry_after, code=end.code)
            answer.close(end.status, failure)
        elif entry.number == len(answer.parts) + 1:
            answer.take(entry.data)
    answer.show()
