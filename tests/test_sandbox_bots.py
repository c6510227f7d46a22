"""The sandbox tells of its bots what Coze does, and what of it must go no further holds a canary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from coze_wire import Json, bot, code_of, fresh_client

from service.sandbox import CANARY, DEFAULT_BOT_ID, running
from service.sandbox.bots import BOTS

WORKSPACE = "7510000000000000001"
# What a page may show of a bot; all else is of its making, or says nothing.
FOR_EVERYBODY = {"bot_id", "name", "description", "icon_url", "onboarding_info"}
PLAIN = {"version", "bot_mode", "create_time", "update_time", "owner_user_id", "folder_id", "default_user_input_type"}
PLAIN |= {"voice_info_list", "media_config"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    with running(delta_seconds=0) as url:
        yield url


@pytest.fixture(scope="module")
def studio_url() -> Iterator[str]:
    with running(delta_seconds=0, flavour="studio") as url:
        yield url


@pytest.fixture
def client(cloud: str) -> Iterator[httpx.Client]:
    with fresh_client(cloud) as client:
        yield client


@pytest.fixture
def studio(studio_url: str) -> Iterator[httpx.Client]:
    with fresh_client(studio_url) as client:
        yield client


def described(client: httpx.Client, bot_id: str = DEFAULT_BOT_ID) -> Json:
    data: Json = client.get(f"/v1/bots/{bot_id}").json()["data"]
    return data


def has_canary(value: Any) -> bool:
    return CANARY in str(value)


def check_canaries(found: Json) -> None:
    for name, value in found.items():
        assert has_canary(value) == (name not in FOR_EVERYBODY | PLAIN), name


def test_a_bot_comes_with_all_of_its_making(client: httpx.Client) -> None:
    found = described(client)
    check_canaries(found)
    making = {"prompt_info", "model_info", "knowledge", "suggest_reply_info", "variables", "shortcut_commands"}
    making |= {"plugin_info_list", "workflow_info_list", "background_image_info"}
    assert found.keys() == FOR_EVERYBODY | PLAIN | making
    assert found["onboarding_info"].keys() == {"prologue", "suggested_questions"}
    assert client.get(found["icon_url"]).headers["content-type"] == "image/svg+xml"
    online = client.get("/v1/bot/get_online_info", params={"bot_id": DEFAULT_BOT_ID}).json()
    assert online["data"] == found


def test_bots_that_are_unknown_foreign_or_unpublished(client: httpx.Client) -> None:
    assert code_of(client.get("/v1/bots/1")) == 4006
    other = {"Authorization": "Bearer pat_other"}
    assert code_of(client.get(f"/v1/bots/{DEFAULT_BOT_ID}", headers=other)) == 4006
    assert code_of(client.get("/v1/bot/get_online_info")) == 4000
    unpublished = bot("4015")
    assert code_of(client.get(f"/v1/bots/{unpublished}")) == 4015
    assert code_of(client.get("/v1/bot/get_online_info", params={"bot_id": unpublished})) == 4015
    assert code_of(client.get(f"/v1/bots/{unpublished}", params={"is_published": "false"})) == 0


def test_a_description_can_be_changed(client: httpx.Client) -> None:
    as_in_samples = {"Prologue": "Hi {{user_name}}", "SuggestedQuestions": ["Why?"], "OnboardingMode": 2}
    changes = {"onboarding_info": as_in_samples, "icon_url": None, "name": 7}
    client.post("/sandbox/settings", json={"bots": {DEFAULT_BOT_ID: changes}}).raise_for_status()
    found = described(client)
    assert (found["onboarding_info"], found["name"], "icon_url" in found) == (as_in_samples, 7, False)
    assert described(client, bot("0404"))["name"] == "tools"


def test_bots_are_listed_by_workspace(client: httpx.Client) -> None:
    def page(**query: Any) -> Json:
        data: Json = client.get("/v1/bots", params={"workspace_id": WORKSPACE, **query}).json()["data"]
        return data

    first = page()
    assert (len(first["items"]), first["total"]) == (20, len(BOTS) - 1)
    assert page(page_index=2) == first, "the SDK for Python's name for a page means nothing"
    last = page(page_num=first["total"] // 20 + 1)
    assert len(last["items"]) == first["total"] % 20
    fields = {"id", "name", "description", "icon_url", "is_published", "published_at", "updated_at", "owner_user_id"}
    assert first["items"][0].keys() == fields | {"folder_id"}
    (draft,) = page(publish_status="unpublished_draft")["items"]
    assert (draft["id"], draft["is_published"], "published_at" in draft) == (bot("4015"), False, False)
    assert page(publish_status="all", page_size=1)["total"] == len(BOTS)
    assert page(workspace_id="7510000000000000002") == {"items": [], "total": 0}
    for bad in ({"workspace_id": ""}, {"publish_status": "some"}, {"page_num": 0}):
        assert code_of(client.get("/v1/bots", params={"workspace_id": WORKSPACE, **bad})) == 4000


def test_studio_describes_bots_in_its_own_way(studio: httpx.Client) -> None:
    found = described(studio)
    check_canaries(found)
    assert {"owner_user_id", "knowledge", "variables", "suggest_reply_info"}.isdisjoint(found)
    assert found["onboarding_info"]["prologue"]
    params = {"bot_id": DEFAULT_BOT_ID}
    assert studio.get("/v1/bot/get_online_info", params=params).status_code == 500
    assert studio.get("/v1/bot/get_online_info", params={**params, "connector_id": "1024"}).json() == found
    assert code_of(studio.get("/v1/bots/1")) == 100000000
    other = {"Authorization": "Bearer pat_other"}
    assert code_of(studio.get(f"/v1/bots/{DEFAULT_BOT_ID}", headers=other)) == 110000001
    assert studio.get("/v1/bots", params={"workspace_id": WORKSPACE}).status_code == 401
