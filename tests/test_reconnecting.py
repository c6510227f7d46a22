"""A reader that sends its request again by itself after the end of a stream is told so, and Coze is not asked."""

import json
import re
from typing import Any

import httpx
import pytest
from conftest import BOT, Service, Upstream, events_of, text_of

CHAT: dict[str, Any] = {"user_id": "reader", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


def ask(service: Service, body: dict[str, Any], last_event_id: str | None = None) -> httpx.Response:
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    return service.http.post("/api/v1/chat", json=body, headers=headers)


def id_of_end(stream: str) -> str:
    """The only id in a stream, which stands before its last event."""
    assert events_of(stream)[-1] == {"type": "end"}
    (found,) = re.findall("^id: (.+)$", stream, re.MULTILINE)
    assert stream.endswith(f'\n\nid: {found}\ndata: {{"type":"end"}}\n\n')
    return str(found)


def asked(upstream: Upstream) -> int:
    return int(upstream.state(0)["requests"].get("POST /v3/chat", 0))


@pytest.mark.parametrize("bot", ["default", "failed-5000", "eof-midway"])
def test_after_the_end(service: Service, upstream: Upstream, bots: dict[str, str], bot: str) -> None:
    body = {**CHAT, "bot_id": bots[bot]}
    end = id_of_end(ask(service, body).text)
    before = asked(upstream)
    for _ in range(2):
        answer = ask(service, body, end)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        assert answer.headers["x-request-id"]
    assert asked(upstream) == before


def test_a_new_question_is_asked_whatever_its_reader_still_sends(service: Service, upstream: Upstream) -> None:
    end = id_of_end(ask(service, CHAT).text)
    other = {**CHAT, "messages": [{"role": "user", "content": "And now?"}]}
    before = asked(upstream)
    answers = [
        ask(service, other, end),
        ask(service, {**CHAT, "conversation_id": None}, end),
        ask(service, {**CHAT, "bot_id": BOT}, end),
        *(
            ask(service, CHAT, odd)
            for odd in ("", "7", end[:-1], f"{end}0", f"{end}.1", "end-0-" + end[-32:], "x" * 9000)
        ),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert all(text_of(events_of(answer.text)) for answer in answers)
    plain = ask(service, {**CHAT, "stream": False}, end)
    assert plain.json()["data"]["content"]
    assert asked(upstream) == before + len(answers) + 1
    # Another's end does as little as one's own for another question.
    assert ask(service, CHAT, id_of_end(answers[0].text)).status_code == 200


def test_a_bad_request_stays_one(service: Service) -> None:
    end = id_of_end(ask(service, CHAT).text)
    assert ask(service, {**CHAT, "user_id": ""}, end).status_code == 400
    body = json.dumps(CHAT)
    answer = service.http.post(
        "/api/v1/chat", content=body, headers={"Last-Event-ID": end, "Content-Type": "text/plain"}
    )
    assert answer.status_code == 400
