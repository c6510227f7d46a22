"""A chat by Coze's record of it says what its stream has said, on the cloud and on Coze Studio."""

import asyncio
import math
from collections.abc import Iterator

import pytest
from conftest import http

from generated.models import ChatMessage, ChatRequest, FollowUpEvent, MessageDeltaEvent, ReasoningDeltaEvent
from service import sandbox, settings
from service.coze import ChatEvent, Coze
from service.coze.errors import Asked
from service.errors import ServiceError
from service.lifecycle import Lifecycle
from service.observe.coze_observer import CozeObserver

GROUPS = ("good", "content", "asks", "framing")
# Their streams are none, so that there is nothing to go on with.
KINDS = (MessageDeltaEvent, ReasoningDeltaEvent, FollowUpEvent)
NO_STREAM = {"bad-json", "wrong-content-type"}


@pytest.fixture(scope="module", params=["cloud", "studio"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with sandbox.running(delta_seconds=0, flavour=request.param) as url:
        yield url


def texts(events: list[ChatEvent]) -> dict[str, list[str]]:
    """The texts of a chat by their kind; a text that comes in pieces as a whole."""
    said = {kind: [event.content for event in events if isinstance(event, kind)] for kind in KINDS}
    return {kind.__name__: texts if kind is FollowUpEvent else ["".join(texts)] for kind, texts in said.items()}


async def said_and_recalled(coze: Coze, bot_id: str) -> tuple[list[ChatEvent], list[ChatEvent] | ServiceError | None]:
    question = ChatRequest(user_id="u", bot_id=bot_id, messages=[ChatMessage(role="user", content="Hello")])
    chat, said = coze.chat(question), list[ChatEvent]()
    try:
        await chat.open()
        chat.listen(said.extend)
        await chat.completed(math.inf)
        conversation_id, chat_id = chat.ids
        assert conversation_id is not None
        assert chat_id is not None
        return said, await coze.recall(Asked.BOT, conversation_id, chat_id)
    finally:
        chat.leave()


def test_the_record_of_a_chat_says_the_same(url: str) -> None:
    bots = [
        bot for bot in http.get(f"{url}/sandbox/bots").json() if bot["group"] in GROUPS and bot["name"] not in NO_STREAM
    ]
    chosen = settings.read({"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": url})

    async def compare() -> dict[str, object]:
        different: dict[str, object] = {}
        async with Coze(chosen, CozeObserver(), Lifecycle()) as coze:
            for bot in bots:
                said, recalled = await said_and_recalled(coze, bot["id"])
                if not isinstance(recalled, list) or texts(said) != texts(recalled):
                    different[bot["name"]] = (texts(said), recalled)
        return different

    assert asyncio.run(compare()) == {}
