"""All answers that this process keeps: how many there may be, and how long one stays that nobody follows."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Self

from service.bounds import BOUNDS
from service.errors import (
    ANSWER_GONE,
    ANSWERS_FULL,
    ANSWERS_OFF,
    KEY_REUSED,
    STOPPED,
    TOO_MANY_ANSWERS,
    Failure,
    ServiceError,
)
from service.kept.answer import KeptAnswer, Status
from service.users.caller import Principal

_EVENT_ID = re.compile(r"([A-Za-z0-9_-]{24})\.([0-9]{1,9})")


class Place(NamedTuple):
    """An event of an answer: what follows it is wanted."""

    answer_id: str
    number: int


def place(event_id: str) -> Place | None:
    """Returns the place that an event's id names; None if it is none of a kept answer."""
    found = _EVENT_ID.fullmatch(event_id)
    return Place(found[1], int(found[2])) if found else None


class _Kept:
    """An answer, the key under which it was asked for, and while it is in progress its reading and how to stop it."""

    __slots__ = ("answer", "interrupt", "key", "reading")

    def __init__(
        self,
        answer: KeptAnswer,
        key: tuple[Principal, str] | None,
        interrupt: Callable[[Failure], None],
        reading: asyncio.Task[None],
    ) -> None:
        self.answer = answer
        self.key = key
        self.interrupt = interrupt
        self.reading = reading


class KeptAnswers:
    """The answers of one process, of which `workers` serve. An asynchronous context; nothing outlives its end."""

    def __init__(self, idle_seconds: float, workers: int) -> None:
        self._idle_seconds = idle_seconds
        self._workers = workers
        self._kept: dict[str, _Kept] = {}
        self._by_key: dict[tuple[Principal, str], tuple[str, KeptAnswer]] = {}
        self._in_progress: Counter[Principal] = Counter()
        self._cleaning: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._cleaning = asyncio.create_task(self._clean())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
        readings = [kept.reading for kept in self._kept.values() if not kept.answer.over]
        for kept in self._kept.values():
            self.stop(kept.answer)
        await asyncio.gather(*readings, return_exceptions=True)

    def check(self, user: Principal) -> None:
        """Raises ServiceError if no more answers are taken: 429 of this user, 503 of anybody."""
        if self._workers > 1:
            raise ServiceError(ANSWERS_OFF)
        if self._in_progress[user] >= BOUNDS.answers_of_a_user:
            raise ServiceError(TOO_MANY_ANSWERS)
        size = sum(kept.answer.size for kept in self._kept.values())
        if len(self._kept) >= BOUNDS.answers or size >= BOUNDS.answers_bytes:
            raise ServiceError(ANSWERS_FULL)

    def begin(
        self,
        answer: KeptAnswer,
        key: str | None,
        question: str,
        interrupt: Callable[[Failure], None],
        reading: Coroutine[Any, Any, None],
    ) -> None:
        """Keeps an answer, and runs its reading, which `interrupt` ends.

        The user may ask for it again by `key` and the same question, of which `question` is the fingerprint.
        """
        named = (answer.user, key) if key is not None else None
        task = asyncio.create_task(reading)
        self._kept[answer.answer_id] = _Kept(answer, named, interrupt, task)
        if named is not None:
            self._by_key[named] = (question, answer)
        self._in_progress[answer.user] += 1
        task.add_done_callback(lambda _: self._ended(answer.user))

    def _ended(self, user: Principal) -> None:
        self._in_progress[user] -= 1
        if not self._in_progress[user]:
            del self._in_progress[user]

    def asked_before(self, user: Principal, key: str, question: str) -> KeptAnswer | None:
        """Returns the answer to the user's first question with this key. Raises ServiceError (400) for another one."""
        found = self._by_key.get((user, key))
        if found is None:
            return None
        if found[0] != question:
            raise ServiceError(KEY_REUSED)
        return found[1]

    def find(self, user: Principal | None, answer_id: str) -> KeptAnswer:
        """Returns an answer for whoever may have it: its proven user, or anybody who knows a claimed user's.

        Raises ServiceError (404) if there is none.
        """
        kept = self._kept.get(answer_id)
        if kept is None or (kept.answer.user.owned and kept.answer.user != user):
            raise ServiceError(ANSWER_GONE)
        return kept.answer

    def stop(self, answer: KeptAnswer) -> None:
        """Has Coze stop working on an answer. Nothing happens to one that is over."""
        if not answer.over:
            self._kept[answer.answer_id].interrupt(STOPPED)

    async def _clean(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self._idle_seconds / 4, BOUNDS.answers_clean_seconds))
            now = loop.time()
            for kept in list(self._kept.values()):
                answer = kept.answer
                if answer.followers or now < answer.alone_since + self._idle_seconds:
                    continue
                if answer.status is Status.IN_PROGRESS:
                    self.stop(answer)
                else:
                    self._forget(kept)

    def _forget(self, kept: _Kept) -> None:
        del self._kept[kept.answer.answer_id]
        if kept.key is not None:
            del self._by_key[kept.key]
