"""The part of one process in answers that several share: it publishes what it reads, and mirrors what others read.

Three tasks do all of it, however many answers there are. One sends what is new here, one waits for what is new
elsewhere, and one sends heartbeats and looks for processes that have stopped sending theirs.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from service.bounds import BOUNDS
from service.errors import ANSWER_LOST, TOO_MANY_ANSWERS, ServiceError
from service.kept.answer import KeptAnswer
from service.kept.published import ABOUT, Published, feed, known_of, name_of, owner_of
from service.kept.store_watch import StoreWatch
from service.store import GONE, OTHER_READER, Addition, StoreDown, UserFullError
from service.users.caller import Principal

if TYPE_CHECKING:
    from service.store.answers import AnswerStore

log = structlog.get_logger()


class Shared:
    """The answers of `store`. Calls raise ServiceError (503) while it does not answer."""

    def __init__(self, store: "AnswerStore") -> None:
        self._store = store
        self._watch = StoreWatch(store.address)
        self._own: dict[KeptAnswer, Published] = {}
        self._changed: set[Published] = set()
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
                while self._changed and not self._watch.down:  # noqa: ASYNC110 - once, at the very end
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
        about = {**about, **known_of(answer)}
        try:
            async with self._watch.needed():
                other = await self._store.create(
                    answer.answer_id, name_of(answer.user), key, BOUNDS.answers_of_a_user, about
                )
        except UserFullError:
            raise ServiceError(TOO_MANY_ANSWERS) from None
        except ServiceError:
            self._give_up(answer, key, about)
            raise
        if other is None:
            self._own[answer] = Published(answer, key, about)
        return other

    def _give_up(self, answer: KeptAnswer, key: str | None, about: dict[str, str]) -> None:
        """Ends an answer that the store may yet create, or have created: it would count as in progress, and be awaited.

        While the store is away only so many are remembered.
        """
        if len(self._own) < BOUNDS.answers:
            self._own[answer] = Published(answer, key, about, given_up=True)
            answer.fail(ServiceError(ANSWER_LOST))

    async def adopt(self, answer: KeptAnswer, about: dict[str, str]) -> None:
        """Becomes the reader of a mirrored answer, as the store knows already."""
        self._mirrors.pop(answer.answer_id, None)
        answer.conversation_id, answer.chat_id = about.get("conversation_id"), about.get("chat_id")
        async with self._watch.needed():
            while entries := await self._store.entries(answer.answer_id, len(answer.parts)):
                feed(answer, entries)
        if not answer.over:
            asked = {name: about[name] for name in ABOUT}
            published = self._own[answer] = Published(answer, None, {**asked, **known_of(answer)})
            published.number, published.named = len(answer.parts), True

    def publish(self, answer: KeptAnswer) -> None:
        """Takes note that there is news of an answer that this process reads."""
        published = self._own.get(answer)
        if published is None:
            return
        self._changed.add(published)
        self._change.set()
        if self._watch.down:
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
        additions = [published.addition() for published in sent]
        try:
            async with self._watch.watched():
                numbers = await self._store.append(additions)
        except StoreDown:
            if self._watch.down:
                # Whoever follows here goes on. The others wait until the store is back.
                for answer in self._own:
                    answer.show()
            raise
        for published, addition, number in zip(sent, additions, numbers, strict=True):
            await self._sent(published, addition, number)

    async def _sent(self, published: Published, addition: Addition, number: int) -> None:
        answer = published.answer
        if number >= 0:
            published.number = number
            published.named = published.named or addition.ids is not None
            published.ended = addition.end is not None and number == len(answer.parts)
            answer.show(number)
            if published.given_up and published.ended:
                self.forget(answer)
        elif number == GONE and not published.given_up and await self._create_again(published):
            published.number, published.named = 0, False
        else:
            assert number in (OTHER_READER, GONE)
            self._lose(published)

    async def _create_again(self, published: Published) -> bool:
        """Creates an answer once more in a store that has lost it. Returns whether it is this process's."""
        answer = published.answer
        with contextlib.suppress(StoreDown):
            name = name_of(answer.user)
            other = await self._store.create(answer.answer_id, name, published.key, BOUNDS.answers, published.about)
            return other is None
        return True  # to be tried again

    def _lose(self, published: Published) -> None:
        """Stops publishing an answer that another process goes on with."""
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
        async with self._watch.needed():
            return await self._store.asked(name_of(user), key)

    async def about(self, answer_id: str) -> dict[str, str]:
        """Returns what is known of an answer; nothing if there is none."""
        async with self._watch.needed():
            return await self._store.about(answer_id)

    async def mirror(self, answer_id: str, about: dict[str, str]) -> KeptAnswer:
        """Returns an answer as another process has published it, and keeps it so until it is forgotten."""
        answer = KeptAnswer(owner_of(about), about["bot_id"], answer_id=answer_id, publish=self.publish)
        answer.conversation_id, answer.chat_id = about.get("conversation_id"), about.get("chat_id")
        async with self._watch.needed():
            while entries := await self._store.entries(answer_id, len(answer.parts)):
                feed(answer, entries)
                if answer.over:
                    return answer
            self._mirrors[answer_id] = answer
            await self._store.interrupt_news()
        return answer

    async def tell_to_stop(self, answer: KeptAnswer) -> None:
        """Has the process that reads an answer stop it."""
        async with self._watch.needed():
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
                feed(answer, entries)
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
            async with self._watch.watched():
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
