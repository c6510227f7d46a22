"""All answers that this process keeps: how many there may be, and how long one stays that nobody follows."""

import asyncio
import contextlib
import time
from collections import Counter
from typing import Self

from service.bounds import BOUNDS
from service.coze import Chat, Coze
from service.errors import ANSWER_GONE, ANSWERS_FULL, ANSWERS_OFF, STOPPED, TOO_MANY_ANSWERS, ServiceError
from service.kept.answer import KeptAnswer, Status
from service.kept.asked import Question
from service.kept.entry import Entry, may_have
from service.kept.published import owner_of
from service.kept.reading import Named, read
from service.kept.rescue import Rescue, record_of
from service.kept.shared import Shared
from service.observe.record import RequestRecord, recording
from service.store import StoreDown
from service.users.caller import Principal


class KeptAnswers:
    """The answers of one process, of which `workers` serve. An asynchronous context.

    Without `shared` nothing outlives its end. With it they are on all machines, and another process goes on with what
    this one was reading.
    """

    def __init__(
        self, coze: Coze, shared: Shared | None, *, idle_seconds: float, chat_seconds: float, workers: int
    ) -> None:
        self._coze = coze
        self._shared = shared
        self._idle_seconds = idle_seconds
        self._clean_seconds = min(idle_seconds / 4, BOUNDS.answers_clean_seconds)
        self._chat_seconds = chat_seconds
        self._workers = workers
        self._kept: dict[str, Entry] = {}
        self._loading: dict[str, asyncio.Task[Entry]] = {}
        # Without `shared`, which has its own:
        self._by_key: dict[tuple[Principal, str], Entry] = {}
        self._in_progress: Counter[Principal] = Counter()
        self._readings: set[asyncio.Task[None]] = set()
        self._rescues: set[asyncio.Task[None]] = set()
        self._cleaning: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._shared is not None:
            self._shared.start(self._interrupt, self._lose, self._claimed)
        self._cleaning = asyncio.create_task(self._clean())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
        for rescue in self._rescues:
            rescue.cancel()
        # What still runs has the rest of the grace, and is then handed over or ended.
        await asyncio.gather(*self._readings, *self._rescues, return_exceptions=True)
        if self._shared is not None:
            await self._shared.stop()

    # Questions.

    async def asked_before(self, user: Principal, key: str, fingerprint: str) -> KeptAnswer | None:
        """Returns the answer to the user's first question with this key.

        Raises ServiceError: 400 if that was another question, 503.
        """
        if self._shared is None:
            kept = self._by_key.get((user, key))
        else:
            answer_id = await self._shared.asked(user, key)
            kept = await self._look_up(user, answer_id) if answer_id else None
        return kept.answer_to(fingerprint) if kept else None

    async def begin(self, asked: Question, chat: Chat, record: RequestRecord, named: Named) -> KeptAnswer:
        """Reads `chat` into an answer to be kept, to be reported by `record`. `named` is told the conversation's id.

        Where another question came first with this key, returns the answer to that, and leaves the chat. Raises
        ServiceError (400, 429, 503) if no answer is taken, and leaves it too.
        """
        answer = KeptAnswer(asked.user, asked.bot_id, publish=self._shared.publish if self._shared else None)
        taken = False
        try:
            self._check(asked.user)
            other = await (self._reserve(asked) if self._shared is None else self._create(answer, asked, chat, record))
            if other is not None:
                return other
            taken = True
        finally:
            if not taken:
                chat.leave()
        kept = self._kept[answer.answer_id] = Entry(answer, asked.fingerprint, chat.interrupt)
        if asked.key is not None and self._shared is None:
            kept.key = asked.user, asked.key
            self._by_key[kept.key] = kept
        self._in_progress[asked.user] += 1
        task = asyncio.create_task(read(chat, answer, record, named))
        self._readings.add(task)
        task.add_done_callback(lambda task: self._ended(task, asked.user))
        return answer

    def _check(self, user: Principal) -> None:
        """Raises ServiceError if no more answers are taken: 429 of this user, 503 of anybody."""
        if self._workers > 1 and self._shared is None:
            raise ServiceError(ANSWERS_OFF)
        if self._shared is None and self._in_progress[user] >= BOUNDS.answers_of_a_user:
            raise ServiceError(TOO_MANY_ANSWERS)
        self._check_room()

    def _check_room(self) -> None:
        size = sum(kept.answer.size for kept in self._kept.values())
        if len(self._kept) >= BOUNDS.answers or size >= BOUNDS.answers_bytes:
            raise ServiceError(ANSWERS_FULL)

    async def _reserve(self, asked: Question) -> KeptAnswer | None:
        """Returns the answer that has the key. Nothing is awaited between this and the beginning of another."""
        return await self.asked_before(asked.user, asked.key, asked.fingerprint) if asked.key is not None else None

    async def _create(
        self, answer: KeptAnswer, asked: Question, chat: Chat, record: RequestRecord
    ) -> KeptAnswer | None:
        """Creates the answer for all processes, or returns the one that has the key."""
        assert self._shared is not None
        about = {
            "question": asked.fingerprint,
            "asked": chat.asked.name,
            "begun": str(time.time()),
            "mode": record.mode or "",
            "request_id": record.request_id,
        }
        answer_id = await self._shared.create(answer, asked.key, about)
        if answer_id is None:
            return None
        kept = await self._look_up(asked.user, answer_id)
        if kept is None:
            raise ServiceError(ANSWER_GONE)
        return kept.answer_to(asked.fingerprint)

    def _ended(self, task: asyncio.Task[None], user: Principal) -> None:
        self._readings.discard(task)
        self._in_progress[user] -= 1
        if not self._in_progress[user]:
            del self._in_progress[user]

    # Answers.

    async def find(self, user: Principal | None, answer_id: str) -> KeptAnswer:
        """Returns an answer for whoever may have it: its proven user, or anybody who knows a claimed user's.

        Raises ServiceError: 404 if there is none, 503.
        """
        kept = await self._look_up(user, answer_id)
        if kept is None:
            raise ServiceError(ANSWER_GONE)
        return kept.answer

    async def stop(self, answer: KeptAnswer) -> None:
        """Has Coze stop working on an answer. Nothing happens to one that is over. Raises ServiceError (503)."""
        if answer.status is not Status.IN_PROGRESS or self._interrupt(answer.answer_id):
            return
        if self._shared is not None:
            await self._shared.tell_to_stop(answer)

    def _interrupt(self, answer_id: str) -> bool:
        """Stops an answer that this process reads. Returns whether it does."""
        kept = self._kept.get(answer_id)
        if kept is None or kept.interrupt is None:
            return False
        kept.interrupt(STOPPED)
        return True

    async def _look_up(self, user: Principal | None, answer_id: str) -> Entry | None:
        kept = self._kept.get(answer_id)
        if kept is not None:
            return kept if may_have(user, kept.answer.user) else None
        if self._shared is None:
            return None
        about = await self._shared.about(answer_id)
        if not about or not may_have(user, owner_of(about)):
            return None
        self._check_room()
        return await self._mirror(answer_id, about)

    async def _mirror(self, answer_id: str, about: dict[str, str]) -> Entry:
        """Returns an answer that another process reads. One mirror is for all who follow it here."""

        async def load(shared: Shared) -> Entry:
            answer = await shared.mirror(answer_id, about)
            kept = self._kept[answer_id] = Entry(answer, about["question"], None)
            return kept

        assert self._shared is not None
        if kept := self._kept.get(answer_id):
            return kept
        loading = self._loading.get(answer_id)
        if loading is None:
            loading = self._loading[answer_id] = asyncio.create_task(load(self._shared))
            loading.add_done_callback(lambda task: self._loaded(answer_id, task))
        # Who leaves meanwhile ends it for nobody else.
        return await asyncio.shield(loading)

    def _loaded(self, answer_id: str, task: asyncio.Task[Entry]) -> None:
        del self._loading[answer_id]
        if not task.cancelled():
            task.exception()  # whoever has waited has it too

    def _lose(self, answer: KeptAnswer) -> None:
        """Forgets an answer that has another reader now, or is not there any more."""
        kept = self._kept.get(answer.answer_id)
        if kept is not None and kept.answer is answer:
            del self._kept[answer.answer_id]

    # What other processes leave.

    def _claimed(self, answer_id: str) -> None:
        task = asyncio.create_task(self._rescue(answer_id))
        self._rescues.add(task)
        task.add_done_callback(self._rescues.discard)

    async def _rescue(self, answer_id: str) -> None:
        """Goes on with an answer whose reader has died or left."""
        shared = self._shared
        assert shared is not None
        while True:
            try:
                about = await shared.about(answer_id)
                if not about:
                    return
                kept = await self._mirror(answer_id, about)
                if kept.interrupt is not None:
                    return
                await shared.adopt(kept.answer, about)
                break
            except ServiceError:
                await asyncio.sleep(BOUNDS.answers_beat_seconds)
        if kept.answer.over:
            return
        record = record_of(about)
        with recording(record):
            rescue = Rescue(self._coze, kept.answer, about, self._chat_seconds)
            kept.interrupt = rescue.interrupt
            # A request to stop it may have gone to the reader that has died.
            with contextlib.suppress(ServiceError):
                if (await shared.about(answer_id)).get("stop"):
                    rescue.interrupt(STOPPED)
            await rescue.run(record)

    # What nobody follows.

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(self._clean_seconds)
            # While the store is away nobody knows who follows elsewhere.
            with contextlib.suppress(StoreDown):
                await self._clean_once()

    async def _clean_once(self) -> None:
        now = asyncio.get_running_loop().time()
        kept = list(self._kept.values())
        if self._shared is not None:
            visited = [one.answer for one in kept if one.answer.visited]
            await self._shared.hear(visited)
            for answer in visited:
                answer.visited = answer.followers > 0
        idle = [one for one in kept if one.is_alone(now, self._idle_seconds)]
        running = [one for one in idle if one.interrupt and one.answer.status is Status.IN_PROGRESS]
        heard = await self._shared.heard([one.answer for one in running]) if self._shared and running else set()
        for one in running:
            if one.answer.answer_id not in heard and one.is_alone(now, self._idle_seconds) and one.interrupt:
                one.interrupt(STOPPED)
        for one in kept:
            if self._is_done(one, now):
                self._forget(one)

    def _is_done(self, kept: Entry, now: float) -> bool:
        """Whether nobody misses an answer here any more."""
        answer = kept.answer
        if self._shared is None or (kept.interrupt is not None and not self._shared.is_published(answer)):
            return answer.status is not Status.IN_PROGRESS and kept.is_alone(now, self._idle_seconds)
        # It can be mirrored again.
        return (kept.interrupt is None or answer.over) and kept.is_alone(now, self._clean_seconds)

    def _forget(self, kept: Entry) -> None:
        answer = kept.answer
        if self._kept.get(answer.answer_id) is kept:
            del self._kept[answer.answer_id]
        if kept.key is not None:
            del self._by_key[kept.key]
        if self._shared is not None:
            self._shared.forget(answer)
