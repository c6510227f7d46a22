"""A chat fed by hand: what it tells its listener, and what it leaves with Coze, however the two cross."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from generated.models import ChatCompletedEvent, MessageDeltaEvent
from service.bounds import BOUNDS
from service.coze.chat import Chat, Exchange
from service.coze.errors import BROKE_OFF, TIMED_OUT, TOKEN_REFUSED, UNREACHABLE, Asked
from service.coze.http import Answer, Receiver
from service.coze.patience import TimeLimits
from service.coze.translation import ChatEvent
from service.errors import STOPPING, ServiceError

LIMITS = TimeLimits(first_event=60, event=60, chat=600)
IDS = {"id": "7", "conversation_id": "8"}


class Line:
    """The way to Coze, played by the test; the exchange with it. `calls` is what the chat has wanted, in order."""

    def __init__(self, *, reachable: bool = True, answers: bool = True, kind: str = "text/event-stream") -> None:
        self.calls: list[str] = []
        self.chat: Chat | None = None
        self.receiver: Receiver
        self.work: list[asyncio.Task[None]] = []
        self._reachable = reachable
        self._answers = answers
        self._headers = {"content-type": kind, "x-tt-logid": "coze-7"}

    async def ask(self, receiver: Receiver) -> Exchange:
        self.calls.append("ask")
        if not self._reachable:
            raise ServiceError(UNREACHABLE)
        if not self._answers:
            await asyncio.Event().wait()
        self.receiver = receiver
        receiver.answered(Answer(200, self._headers))
        return self

    def token_refused(self) -> None:
        self.calls.append("token refused")

    async def cancel(self, conversation_id: str, chat_id: str) -> None:
        self.calls.append(f"cancel {conversation_id} {chat_id}")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.work.append(asyncio.ensure_future(work))

    def release(self, chat: Chat) -> None:
        assert chat is self.chat
        self.calls.append("release")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    # What Coze says.

    def created(self) -> None:
        self._say("conversation.chat.created", IDS)

    def delta(self, content: str) -> None:
        self._say("conversation.message.delta", {"id": "1", "type": "answer", "role": "assistant", "content": content})

    def complete(self) -> None:
        self._say("conversation.chat.completed", {**IDS, "status": "completed"})

    def fail(self, code: int = 5000) -> None:
        self._say("conversation.chat.failed", {**IDS, "status": "failed", "last_error": {"code": code}})

    def _say(self, event: str, data: dict[str, Any]) -> None:
        self.receiver.received(f"event:{event}\ndata:{json.dumps(data)}\n\n".encode())


def played(play: Callable[[Chat, Line], Awaitable[None]], line: Line | None = None, **limits: float) -> list[str]:
    """What a chat has wanted of its line while `play` was played, and what it left to do was done."""

    async def main() -> list[str]:
        way = line or Line()
        chat = way.chat = Chat(way, Asked.BOT, LIMITS._replace(**limits))
        unexpected: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
        await play(chat, way)
        chat.leave()
        await asyncio.gather(*way.work)
        assert not unexpected
        return way.calls

    return asyncio.run(main())


async def opened(chat: Chat, line: Line) -> None:
    opening = asyncio.ensure_future(chat.open())
    await asyncio.sleep(0)
    line.created()
    await opening


def texts(events: list[ChatEvent]) -> list[str]:
    return [event.content for event in events if isinstance(event, MessageDeltaEvent)]


def test_a_good_chat() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        assert chat.ids == ("8", "7")
        heard: list[ChatEvent] = []
        chat.listen(heard.extend)
        line.delta("a")
        assert texts(heard) == ["a"], "in the same turn of the loop"
        line.delta("b")
        assert await chat.completed(until=0) is False
        line.complete()
        assert await chat.completed(math.inf)
        assert texts(heard) == ["a", "b"]
        assert isinstance(heard[-1], ChatCompletedEvent)
        assert line.receiver.ended(None)

    assert played(play) == ["ask", "pause", "resume", "release"]


def test_what_comes_before_anybody_listens_waits_and_coze_is_read_no_further() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        line.delta("a")
        line.delta("b")
        heard: list[ChatEvent] = []
        chat.listen(heard.extend)
        assert texts(heard) == ["a", "b"]
        line.complete()
        line.receiver.ended(None)

    assert played(play) == ["ask", "pause", "pause", "pause", "resume", "release"]


def test_backpressure_within_what_is_taken() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.listen(lambda events: chat.pause() if texts(events) else None)
        line.delta("a")
        line.delta("b")
        chat.resume()
        chat.resume()
        line.complete()
        assert await chat.completed(math.inf)
        line.receiver.ended(None)

    assert played(play) == ["ask", "pause", "resume", "pause", "resume", "release"]


def test_a_pause_that_begins_as_events_are_handed_over_lasts() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        line.delta("a")
        chat.listen(lambda _: chat.pause())
        line.receiver.ended(None)

    assert played(play)[:3] == ["ask", "pause", "pause"]


def test_silence_does_not_count_while_paused() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.listen(lambda _: None)
        chat.pause()
        assert not await chat.completed(asyncio.get_running_loop().time() + 0.1)
        chat.resume()
        with pytest.raises(ServiceError, match="too long"):
            await chat.completed(math.inf)

    played(play, event=0.02)


@pytest.mark.parametrize(
    ("limits", "cause"), [({"first_event": 0.02}, "silence"), ({"chat": 0.02}, "the whole chat took too long")]
)
def test_time_is_up_before_coze_answers(limits: dict[str, float], cause: str) -> None:
    async def play(chat: Chat, _: Line) -> None:
        with pytest.raises(ServiceError) as caught:
            await chat.open()
        assert caught.value.failure is TIMED_OUT
        assert (caught.value.cause, caught.value.logid) == (cause, None)

    assert played(play, Line(answers=False), **limits) == ["ask", "release"]


def test_a_stop_in_the_turn_of_the_loop_in_which_time_is_up() -> None:
    async def play(chat: Chat, _: Line) -> None:
        loop = asyncio.get_running_loop()
        opening = asyncio.ensure_future(chat.open())
        await asyncio.sleep(0)
        loop.call_later(0.05, chat.interrupt, STOPPING)
        with pytest.raises(ServiceError, match=r"too long|stopping"):
            await opening

    played(play, Line(answers=False), first_event=0.05)


def test_an_interrupt_ends_asking() -> None:
    async def play(chat: Chat, _: Line) -> None:
        opening = asyncio.ensure_future(chat.open())
        await asyncio.sleep(0)
        chat.interrupt(STOPPING)
        with pytest.raises(ServiceError, match="stopping"):
            await opening

    assert played(play, Line(answers=False)) == ["ask", "release"]


def test_coze_cannot_be_reached() -> None:
    async def play(chat: Chat, _: Line) -> None:
        with pytest.raises(ServiceError) as caught:
            await chat.open()
        assert caught.value.failure is UNREACHABLE

    assert played(play, Line(reachable=False)) == ["ask", "release"]


def test_a_refused_token_is_reported() -> None:
    async def play(chat: Chat, line: Line) -> None:
        opening = asyncio.ensure_future(chat.open())
        await asyncio.sleep(0)
        line.fail(4100)
        with pytest.raises(ServiceError) as caught:
            await opening
        assert caught.value.failure is TOKEN_REFUSED
        line.receiver.ended(None)

    assert played(play) == ["ask", "token refused", "release"]


def test_what_came_before_a_failure_is_the_listeners() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        line.delta("a")
        line.fail()
        heard: list[ChatEvent] = []
        chat.listen(heard.extend)
        assert texts(heard) == ["a"]
        with pytest.raises(ServiceError):
            await chat.completed(math.inf)
        line.delta("too late")
        assert texts(heard) == ["a"]
        assert line.receiver.ended(None)

    assert played(play)[-1] == "release"


def test_the_first_failure_stands() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.listen(lambda _: None)
        line.fail(4028)
        chat.interrupt(STOPPING)
        line.receiver.ended(ServiceError(BROKE_OFF))
        with pytest.raises(ServiceError, match="quota"):
            await chat.completed(math.inf)

    played(play)


def test_an_answer_that_was_taken_whole_fails_no_more() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.listen(lambda _: None)
        line.complete()
        chat.interrupt(STOPPING)
        line.receiver.ended(ServiceError(BROKE_OFF))
        assert await chat.completed(math.inf)

    assert played(play)[-1] == "release"


def test_a_stop_between_the_end_of_an_answer_and_its_listener() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        line.delta("Hello")
        line.complete()
        chat.interrupt(STOPPING)
        heard: list[ChatEvent] = []
        chat.listen(heard.extend)
        with pytest.raises(ServiceError, match="stopping"):
            await chat.completed(math.inf)
        # Not completed and failed at once: the listener would end its answer twice.
        assert any(isinstance(event, MessageDeltaEvent) for event in heard)
        assert not any(isinstance(event, ChatCompletedEvent) for event in heard)

    played(play)


def test_a_listener_that_raises_fails_the_chat() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)

        def take(_: list[ChatEvent]) -> None:
            raise ValueError("no more")

        chat.listen(take)
        line.delta("a")
        with pytest.raises(ValueError, match="no more"):
            await chat.completed(math.inf)

    assert played(play)[-2:] == ["cancel 8 7", "release"]


def test_who_leaves_early_has_the_chat_cancelled_by_its_name() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.listen(lambda _: None)
        chat.pause()
        chat.leave()
        chat.resume()
        chat.pause()

    assert played(play) == ["ask", "pause", "resume", "pause", "resume", "close", "cancel 8 7", "release"]


def test_a_chat_that_was_left_without_a_name_is_read_until_it_has_one() -> None:
    async def play(chat: Chat, line: Line) -> None:
        opening = asyncio.ensure_future(chat.open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait((opening,))
        chat.leave()
        await asyncio.sleep(0.01)
        assert "close" not in line.calls
        line.created()

    assert played(play) == ["ask", "resume", "close", "cancel 8 7", "release"]


def test_a_chat_that_completes_as_it_is_left_is_not_cancelled() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.leave()
        await asyncio.sleep(0)
        line.complete()
        assert line.receiver.ended(None)

    assert played(play) == ["ask", "pause", "resume", "release"]


def test_a_chat_that_never_gets_a_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "leave_seconds", 0.02)

    async def play(chat: Chat, _: Line) -> None:
        opening = asyncio.ensure_future(chat.open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait((opening,))

    assert played(play) == ["ask", "resume", "close", "release"]


def test_garbage_after_a_chat_was_left_ends_the_exchange() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.leave()
        await asyncio.sleep(0)
        line.fail()

    assert played(play) == ["ask", "pause", "resume", "close", "release"]


def test_an_exchange_that_ends_early_fails_the_chat_and_has_it_cancelled() -> None:
    async def play(chat: Chat, line: Line) -> None:
        await opened(chat, line)
        chat.listen(lambda _: None)
        assert not line.receiver.ended(None)
        with pytest.raises(ServiceError) as caught:
            await chat.completed(math.inf)
        assert caught.value.failure is BROKE_OFF

    assert played(play) == ["ask", "pause", "resume", "cancel 8 7", "release"]
