"""The bots that are served: those of BOTS and the default one, by name or id."""

import pytest
from conftest import BOT, Service, Start, Upstream, events_of
from envelope import assert_error


@pytest.fixture(scope="module")
def named(start: Start, bots: dict[str, str]) -> Service:
    """A service with two bots that have names, and the default one, which has none."""
    return start(BOTS=f"helper:{bots['variables']},asker:{bots['asks-as-studio']}")


def test_a_bot_is_asked_by_its_name_or_its_id(named: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    for asked, bot_id in (("helper", bots["variables"]), (bots["variables"], bots["variables"]), (BOT, BOT)):
        answer = named.chat(bot=asked)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["bot_id"] == bot_id
        assert events_of(named.chat(bot=asked, stream=True).text)[-2]["type"] == "chat_completed"
        assert [chat["bot_id"] for chat in upstream.state()["chats"][-2:]] == [bot_id] * 2
    assert named.chat().json()["data"]["bot_id"] == BOT


def test_any_other_bot_is_not_there_and_coze_is_not_asked(
    named: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    before = upstream.state()["chats"]
    for other in (bots["for-ever"], "7000000000000000000", "Helper", "helper ", "default"):
        for stream in (False, True):
            answer = named.chat(bot=other, stream=stream)
            assert_error(answer, 404)
            assert answer.json()["code"] == "bot_not_found"
    assert upstream.state()["chats"] == before


def test_without_a_default_bot_one_must_be_named(start: Start, bots: dict[str, str]) -> None:
    service = start(BOTS=f"helper:{bots['variables']}", COZE_BOT_ID="")
    assert_error(service.chat(), 400)
    assert_error(service.chat(bot=BOT), 404)
    assert service.chat(bot="helper").status_code == 200


def test_without_bots_any_bot_is_asked(service: Service, bots: dict[str, str]) -> None:
    assert service.chat(bot=bots["variables"]).status_code == 200
