"""The running chats: their number and its limit, the way of each to Coze, and the cleaning up after them."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import UNSET

from generated.models import ChatRequest
from service.bounds import BOUNDS
from service.coze import wire
from service.coze.bots import ServedBots
from service.coze.calls import Calls
from service.coze.chat import Chat
from service.coze.errors import CANCELED, Asked
from service.coze.http import Exchange, Receiver
from service.coze.observer import Observer
from service.coze.patience import TimeLimits
from service.coze.question import messages_for_coze
from service.errors import FULL, STOPPING, ServiceError
from service.lifecycle import Lifecycle
from service.settings import Settings

# Fields that are handed on to Coze as they are.
_EXTRAS = ("parameters", "custom_variables", "meta_data")


class Chats:
    """The chats of one process. Those still running at the end of its grace fail."""

    def __init__(
        self, settings: Settings, bots: ServedBots, calls: Calls, observer: Observer, lifecycle: Lifecycle
    ) -> None:
        self._bots = bots
        self._most = settings.max_concurrent_chats
        self._limits = TimeLimits(
            first_event=settings.coze_first_event_timeout,
            event=settings.coze_event_timeout,
            chat=settings.coze_chat_timeout,
        )
        self._calls = calls
        self._observer = observer
        # With the conversation that each goes on with: Coze names it late.
        self._running: dict[Chat, str | None] = {}
        self._cleaning: set[asyncio.Task[None]] = set()
        self._lifecycle = lifecycle
        lifecycle.at_grace_end(self._stop)

    def begin(self, request: ChatRequest) -> Chat:
        """Begins a chat, to be opened. Raises ServiceError (400, 404; 503 if no more chats are taken)."""
        question = {
            "bot_id": self._bots.id_of(request.bot_id or None),
            "user_id": request.user_id,
            "additional_messages": messages_for_coze(request),
            "stream": True,
            "auto_save_history": True,
        }
        for name in _EXTRAS:
            if value := getattr(request, name):
                question[name] = value
        if self._lifecycle.stopping:
            raise ServiceError(STOPPING)
        if len(self._running) >= self._most:
            raise ServiceError(FULL)
        conversation_id = None if request.conversation_id is UNSET else request.conversation_id
        line = _Line(self, conversation_id, question)
        chat = Chat(line, Asked.BOT if request.bot_id else Asked.DEFAULT_BOT, self._limits)
        self._running[chat] = conversation_id
        self._observer.running_chats(len(self._running))
        return chat

    async def stop_in(self, conversation_id: str) -> None:
        """Ends this process's chats in a conversation, as cancelled, and waits a while for Coze to have ended them."""
        self.cancel_in(conversation_id)
        await self._wait_while(lambda: self._running_in(conversation_id))

    def cancel_in(self, conversation_id: str) -> None:
        """Ends the chats that run in a conversation, as cancelled."""
        for chat in self._running_in(conversation_id):
            chat.interrupt(CANCELED)

    async def _wait_while(self, lasts: Callable[[], object]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUNDS.leave_seconds):
                while lasts():  # noqa: ASYNC110 - seldom, and not for long
                    await asyncio.sleep(0.02)

    def _running_in(self, conversation_id: str) -> list[Chat]:
        return [chat for chat, asked in self._running.items() if conversation_id in (chat.ids[0], asked)]

    @property
    def conversations(self) -> set[str]:
        """The ids of the conversations in which chats run; of a new one, once Coze has named it."""
        return {named for chat, asked in self._running.items() if (named := chat.ids[0] or asked)}

    async def settled(self) -> None:
        """Waits until no chat runs or is to be cancelled, at most for a while.

        A task that is only now being cancelled may still leave its chat.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUNDS.goodbye_seconds):
                while self._running or self._cleaning:  # noqa: ASYNC110 - once, at the very end
                    await asyncio.sleep(0.02)

    def _stop(self) -> None:
        """Fails every chat that still runs."""
        for chat in tuple(self._running):
            chat.interrupt(STOPPING)

    # Called by the lines.

    async def ask(self, conversation_id: str | None, question: dict[str, Any], receiver: Receiver) -> Exchange:
        if conversation_id and self._cleaning:
            # Coze refuses a question in a conversation in which it still ends the chat before.
            await self._wait_while(lambda: any(chat.left for chat in self._running_in(conversation_id)))
        params = {"conversation_id": conversation_id} if conversation_id else None
        return await self._calls.begin("POST", "/v3/chat", receiver, params=params, json=question, stream=True)

    def token_refused(self) -> None:
        self._calls.token_refused()

    async def cancel(self, conversation_id: str, chat_id: str) -> None:
        """Cancels a chat that was left. A failure is only reported, as nobody waits for the chat any more."""
        try:
            # To cancel twice does no harm.
            ids = {"conversation_id": conversation_id, "chat_id": chat_id}
            answer, body = await self._calls.exchange("POST", "/v3/chat/cancel", repeatable=True, json=ids)
            try:
                code = wire.decode_envelope(body).code
            except wire.UNDECODABLE:
                code = None
            self._observer.cancelled(answer, code)
        except ServiceError as error:
            self._observer.not_cancelled(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)

    def release(self, chat: Chat) -> None:
        self._running.pop(chat, None)
        self._observer.running_chats(len(self._running))


class _Line:
    """The way of one chat to Coze (`service.coze.chat.Line`)."""

    __slots__ = ("_chats", "_conversation_id", "_question", "cancel", "release", "spawn", "token_refused")

    def __init__(self, chats: Chats, conversation_id: str | None, question: dict[str, Any]) -> None:
        self._chats = chats
        self._conversation_id = conversation_id
        self._question = question
        self.token_refused = chats.token_refused
        self.cancel = chats.cancel
        self.spawn = chats.spawn
        self.release = chats.release

    async def ask(self, receiver: Receiver) -> Exchange:
        # It may be long, and the chat takes longer.
        question, self._question = self._question, {}
        return await self._chats.ask(self._conversation_id, question, receiver)
