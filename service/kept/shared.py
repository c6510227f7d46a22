"""The part of one process in answers that several share: it publishes what it reads, and mirrors what others read.

All of it goes over three tasks, however many answers there are: one sends what is new, one waits for what is new
elsewhere, one says that the process lives and looks for those that do not.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from service.bounds import BOUNDS
from service.errors import ANSWERS_AWAY, TOO_MANY_ANSWERS, Failure, ServiceError
from service.kept.answer import KeptAnswer, Status
from service.observe.metrics import STORE_FAILURES
from service.store import GONE, OTHER_READER, Addition, Entry, StoreDown, UserFullError
from service.users.caller import Principal

if TYPE_CHECKING:
    from service.store.answers import AnswerStore

log = structlog.get_logger()

# What `create` is told about the question.
ABOUT = ("question", "asked", "begun", "mode", "request_id")


class _End(msgspec.Struct):
    """The end of an answer, as others are told."""

    status: Status
    failure: Failure | None = None
    message: str | None = None
    retry_after: int | None = None
    code: int | None = None


_decode_end = msgspec.json.Decoder(_End).decode


class _Published:
    """An answer that this process reads, how much of it the store has, and what the store is to know about it."""

    __slots__ = ("about", "answer", "ended", "key", "named", "number")

    def __init__(self, answer: KeptAnswer, key: str | None, about: dict[str, str]) -> None:
        self.answer = answer
        self.key = key
        self.about = about
        self.number = 0
        self.named = False
        self.ended = False

    @property
    def news(self) -> bool:
        over = self.answer.status is not Status.IN_PROGRESS
        return self.number < len(self.answer.parts) or (over and not self.ended)


class Shared:
    """The answers of `store`. Calls raise ServiceError (503) while it does not answer."""

    def __init__(self, store: "AnswerStore") -> None:
        self._store = store
        self._failures = STORE_FAILURES.labels("answers")
        self._down = False
        self._own: dict[KeptAnswer, _Published] = {}
        self._changed: set[_Published] = set()
        self._change = asyncio.Event()
        self._mirrors: dict[str, KeptAnswer] = {}
        self._missed: set[KeptAnswer] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(
        self,
        on_stop: Callable[[str], object],
        on_lost: Callable[[KeptAnswer], None],
        on_claimed: Callable[[str], None],
    ) -> None:
        """Begins to work.

        Tells `on_stop` the id of an answer read here that is to be stopped, `on_lost` an answer that has another reader
        now or is not there any more, and `on_claimed` the id of one that this process is to go on with.
        """
        self._on_stop, self._on_lost, self._on_claimed = on_stop, on_lost, on_claimed
        self._reachable_since = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(_again_and_again(work)) for work in (self._send, self._listen, self._live)]

    async def stop(self) -> None:
        """Sends what is new, and leaves the rest of what this process was reading to others."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUNDS.store_seconds):
                while self._changed and not self._down:  # noqa: ASYNC110 - once, at the very end
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreDown):
            await self._store.leave()
        await self._store.close()

    # Answers that this process reads.

    async def create(self, answer: KeptAnswer, key: str | None, about: dict[str, str]) -> str | None:
        """Has the store keep an answer. Returns the id of another one if that has the key.

        Raises ServiceError: 429 if the user has too many in progress, 503.
        """
        about = {**about, **_owner(answer)}
        try:
            async with self._needed():
                other = await self._store.create(
                    answer.answer_id, _name(answer.user), key, BOUNDS.answers_of_a_user, about
                )
        except UserFullError:
            raise ServiceError(TOO_MANY_ANSWERS) from None
        if other is None:
            self._own[answer] = _Published(answer, key, about)
        return other

    async def adopt(self, answer: KeptAnswer, about: dict[str, str]) -> None:
        """Becomes the reader of a mirrored answer, as the store knows already."""
        self._mirrors.pop(answer.answer_id, None)
        answer.conversation_id, answer.chat_id = about.get("conversation_id"), about.get("chat_id")
        async with self._needed():
            while entries := await self._store.entries(answer.answer_id, len(answer.parts)):
                _feed(answer, entries)
        if not answer.over:
            asked = {name: about[name] for name in ABOUT}
            published = self._own[answer] = _Published(answer, None, {**asked, **_owner(answer)})
            published.number, published.named = len(answer.parts), True

    def publish(self, answer: KeptAnswer) -> None:
        """Takes note that there is news of an answer that this process reads."""
        published = self._own.get(answer)
        if published is None:
            return
        self._changed.add(published)
        self._change.set()
        if self._down:
            answer.show()

    def is_published(self, answer: KeptAnswer) -> bool:
        """Whether the store has all of an answer that this process reads."""
        published = self._own.get(answer)
        return published is None or published.ended

    async def _send(self) -> None:
        await self._change.wait()
        sent = [published for published in self._changed if published.news]
        if not sent:
            self._changed.clear()
            self._change.clear()
            return
        additions = [_addition(published) for published in sent]
        try:
            async with self._watched():
                numbers = await self._store.append(additions)
        except StoreDown:
            # Whoever follows here goes on. The others wait until the store is back.
            for answer in self._own:
                answer.show()
            raise
        for published, addition, number in zip(sent, additions, numbers, strict=True):
            await self._sent(published, addition, number)

    async def _sent(self, published: _Published, addition: Addition, number: int) -> None:
        answer = published.answer
        if number >= 0:
            published.number = number
            published.named = published.named or addition.ids is not None
            published.ended = addition.end is not None and number == len(answer.parts)
            answer.show(number)
        elif number == GONE and await self._create_again(published):
            published.number, published.named = 0, False
        else:
            assert number in (OTHER_READER, GONE)
            self._lose(published)

    async def _create_again(self, published: _Published) -> bool:
        """Creates an answer once more in a store that has lost it. Returns whether it is this process's."""
        answer = published.answer
        with contextlib.suppress(StoreDown):
            name = _name(answer.user)
            other = await self._store.create(answer.answer_id, name, published.key, BOUNDS.answers, published.about)
            return other is None
        return True  # to be tried again

    def _lose(self, published: _Published) -> None:
        """Stops to publish an answer with which another process goes on."""
        answer = published.answer
        self.forget(answer)
        answer.publish = None
        if answer.shown <= published.number:
            answer.leave()
        else:
            # Followers have seen more than the other process knows of: they get the rest from here.
            answer.publish = KeptAnswer.show
            answer.show()
        self._on_lost(answer)

    # Answers that others read.

    async def asked(self, user: Principal, key: str) -> str | None:
        """Returns the id of the answer to the user's question with this key."""
        async with self._needed():
            return await self._store.asked(_name(user), key)

    async def about(self, answer_id: str) -> dict[str, str]:
        """Returns what is known of an answer; nothing if there is none."""
        async with self._needed():
            return await self._store.about(answer_id)

    async def mirror(self, answer_id: str, about: dict[str, str]) -> KeptAnswer:
        """Returns an answer as another process has published it, and keeps it so until it is forgotten."""
        answer = KeptAnswer(owner_of(about), about["bot_id"], answer_id=answer_id, publish=self.publish)
        answer.conversation_id, answer.chat_id = about.get("conversation_id"), about.get("chat_id")
        async with self._needed():
            while entries := await self._store.entries(answer_id, len(answer.parts)):
                _feed(answer, entries)
                if answer.over:
                    return answer
            self._mirrors[answer_id] = answer
            await self._store.interrupt_news()
        return answer

    async def tell_to_stop(self, answer: KeptAnswer) -> None:
        """Has the process that reads an answer stop it."""
        async with self._needed():
            await self._store.stop(answer.answer_id)

    async def heard(self, answers: list[KeptAnswer]) -> set[str]:
        """Returns the ids of those that somebody has followed lately, on any machine. Raises StoreDown."""
        return await self._store.heard([answer.answer_id for answer in answers])

    async def hear(self, answers: list[KeptAnswer]) -> None:
        """Says that somebody follows these answers here. Raises StoreDown."""
        found = await self._store.hear([answer.answer_id for answer in answers]) if answers else []
        gone = {answer for answer, there in zip(answers, found, strict=True) if not there}
        # A reader creates again what the store has lost, as soon as it has news.
        for answer in gone & self._missed - self._own.keys():
            answer.leave()
            self.forget(answer)
            self._on_lost(answer)
        self._missed = gone

    def forget(self, answer: KeptAnswer) -> None:
        if published := self._own.pop(answer, None):
            self._changed.discard(published)
        if self._mirrors.get(answer.answer_id) is answer:
            del self._mirrors[answer.answer_id]

    async def _listen(self) -> None:
        mirrors = dict(self._mirrors)
        news, stops = await self._store.news({name: len(one.parts) for name, one in mirrors.items()})
        for answer_id, entries in news.items():
            answer = mirrors[answer_id]
            # It may have become this process's own meanwhile.
            if self._mirrors.get(answer_id) is answer:
                _feed(answer, entries)
                if answer.over:
                    del self._mirrors[answer_id]
        for answer_id in stops:
            self._on_stop(answer_id)
        # A reading names all of them, and returns with the first event of any.
        await asyncio.sleep(BOUNDS.answers_read_seconds * (1 + len(mirrors) / 100))

    # Processes.

    async def _live(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            async with self._watched():
                silent = await self._store.beat()
                # While the store was away, nobody could be heard.
                if now() >= self._reachable_since + BOUNDS.answers_lease_seconds:
                    for process in silent:
                        while claimed := await self._store.claim(process, BOUNDS.answers_claimed):
                            for answer_id in claimed:
                                self._on_claimed(answer_id)
        except StoreDown:
            self._reachable_since = now()
            raise
        await asyncio.sleep(BOUNDS.answers_beat_seconds)

    @contextlib.asynccontextmanager
    async def _needed(self) -> AsyncIterator[None]:
        """Raises ServiceError (503) if the store does not answer."""
        try:
            yield
        except StoreDown as error:
            self._failures.inc()
            raise ServiceError(ANSWERS_AWAY, cause=f"store: {error}") from None

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Notes whether the store answers, and says so when that changes."""
        try:
            yield
        except StoreDown as error:
            self._failures.inc()
            if not self._down:
                self._down = True
                log.warning("the store of the answers does not answer", store=self._store.address, cause=str(error))
            raise
        if self._down:
            self._down = False
            log.info("the store of the answers answers again", store=self._store.address)


def owner_of(about: dict[str, str]) -> Principal:
    """Returns the user of an answer of which this is known."""
    return Principal(about["user_id"], owned=about["owned"] == "1")


async def _again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
            continue
        except StoreDown:
            pass
        except Exception as error:
            log.error("bug", exc_info=error)
        await asyncio.sleep(BOUNDS.answers_beat_seconds)


def _owner(answer: KeptAnswer) -> dict[str, str]:
    return {"user_id": answer.user.user_id, "owned": str(int(answer.user.owned)), "bot_id": answer.bot_id}


def _name(user: Principal) -> str:
    return f"{int(user.owned)}{user.user_id}"


def _addition(published: _Published) -> Addition:
    answer, first, size, parts = published.answer, published.number + 1, 0, []
    for number in range(first, len(answer.parts) + 1):
        # The last event goes together with the one before and the end, so that no answer has half an end.
        if size >= BOUNDS.answers_sent_bytes and number < len(answer.parts):
            break
        parts.append(answer.parts[number - 1])
        size += len(parts[-1])
    whole = answer.status is not Status.IN_PROGRESS and published.number + len(parts) == len(answer.parts)
    ids = None
    if answer.conversation_id and answer.chat_id and not published.named:
        ids = answer.conversation_id, answer.chat_id
    return Addition(answer.answer_id, first, parts, ids, _end(answer) if whole else None)


def _end(answer: KeptAnswer) -> bytes:
    error = answer.failure
    if error is None:
        return msgspec.json.encode(_End(answer.status))
    return msgspec.json.encode(_End(answer.status, error.failure, error.message, error.retry_after, error.code))


def _feed(answer: KeptAnswer, entries: list[Entry]) -> None:
    """Adds to a mirror what another process has published."""
    for entry in entries:
        if entry.over:
            end = _decode_end(entry.data)
            failure = end.failure and ServiceError(end.failure, end.message, retry_after=end.retry_after, code=end.code)
            answer.close(end.status, failure)
        elif entry.number == len(answer.parts) + 1:
            answer.take(entry.data)
    answer.show()
