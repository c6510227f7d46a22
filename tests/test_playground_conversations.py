"""The playground's side bar and its callers in Chromium: visitors, users, keys, bots, what each finds again."""

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import page_on
from conftest import BOT, Service, Start, Upstream, http, running_service, wait_until
from joserfc import jwt
from joserfc.jwk import OctKey
from playground import answered, ask, bubbles, focused, names, open_at, picture, say, visitor_token, wire
from playwright.sync_api import Browser, FilePayload, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fresh")]

KEY = "key-of-the-page"
SECRET = "a secret that has more than 32 bytes"


@pytest.fixture(scope="module")
def with_keys(start: Start) -> Service:
    """A service for a backend with a key, and for users who sign in."""
    return start(API_KEYS=f"page:{hashlib.sha256(KEY.encode()).hexdigest()}", USER_TOKEN_SECRET=SECRET)


def of_visitor(page: Page, service: Service) -> httpx.Client:
    """Another client of the page's visitor."""
    headers = {"Authorization": f"Bearer {visitor_token(page)}"}
    return httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=30)


def test_a_service_that_asks_for_a_key(browser: Browser, with_keys: Service) -> None:
    with page_on(browser, f"{with_keys.url}/playground", statuses=(401,)) as page:
        open_at(page)
        ask(page, "Hello")
        card = page.get_by_role("alert")
        expect(card).to_contain_text("An API key is needed · HTTP 401")
        page.get_by_label("API key").fill(KEY)
        card.get_by_role("button", name="Try again").click()
        expect(page.locator(".bot .bubble").last).to_contain_text("Hello! I am")
        assert KEY not in "".join(wire(page))
        page.reload()
        open_at(page)
        expect(bubbles(page)).to_have_count(2)
        ask(page, "Hello")
        answered(page, 2)
    with page_on(browser, f"{with_keys.url}/playground", statuses=(401,), locale="zh-CN") as page:
        open_at(page)
        expect(page.get_by_label("API 密钥")).to_be_visible()


def test_whoever_comes_back_to_a_tab_sees_what_was_asked_in_another(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        ask(page, "The first")
        answered(page, 1)
        other = page.context.new_page()
        other.goto(page.url)
        open_at(other)
        other.get_by_role("button", name="New conversation").click()
        ask(other, "The second")
        answered(other, 1)
        expect(names(page)).to_have_text(["The first"])
        # Chromium does not hide its tabs under test.
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(names(page)).to_have_text(["The second", "The first"])
        expect(page.get_by_role("link", name="The first")).to_have_attribute("aria-current", "page")


def test_what_a_visitor_said_is_listed_and_read_again(
    browser: Browser, on_sandbox: Service, upstream: Upstream, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        expect(page.get_by_role("navigation", name="Conversations")).to_contain_text("is kept here")
        notes: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
        page.get_by_label("Attach", exact=True).set_input_files([picture(), notes])
        page.get_by_label("Message", exact=True).fill("What <b>is</b> it?")
        page.get_by_role("button", name="Send").click()
        first = answered(page, 1)
        page.get_by_role("button", name="New conversation").click()
        page.get_by_label("Bot id").fill(bots["reasoning"])
        ask(page, "Think about it")
        second = answered(page, 1)
        thoughts = page.locator("details.thinking p").inner_text()
        expect(names(page)).to_have_text(["Think about it", "What <b>is</b> it?"])
        expect(page.locator("#chat-title")).to_have_text("Think about it")
        # A reload keeps what is open, and the bot that it is with.
        page.reload()
        expect(bubbles(page)).to_have_text(["Think about it", second])
        expect(page.get_by_label("Bot id")).to_have_value(bots["reasoning"])
        expect(page.get_by_role("link", name="Think about it")).to_have_attribute("aria-current", "page")
        page.get_by_text("Thinking", exact=True).click()
        assert page.locator("details.thinking p").inner_text() == thoughts
        ask(page, "And now?")
        answered(page, 2)
        expect(names(page)).to_have_text(["Think about it", "What <b>is</b> it?"])
        # The other one, by keyboard, with its files.
        page.get_by_role("link", name="What <b>is</b> it?").press("Enter")
        expect(bubbles(page)).to_have_text(["notes.txt", "What <b>is</b> it?", first], use_inner_text=True)
        expect(page.get_by_label("Bot id")).to_have_value(BOT)
        shown = page.get_by_role("img", name="evening.png")
        page.wait_for_function("image => image.naturalWidth == 240", arg=shown.element_handle())
        link = page.get_by_role("link", name="notes.txt").get_attribute("href") or ""
        assert http.get(link).content == b"some notes"
        ask(page, "What did I ask before?")
        assert "What <b>is</b> it?" in answered(page, 2)
        expect(names(page)).to_have_text(["What <b>is</b> it?", "Think about it"])  # the one used last first
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 2
        page.go_back()
        expect(bubbles(page).first).to_have_text("Think about it")


def test_two_visitors_before_and_after_a_restart(browser: Browser, upstream: Upstream, tmp_path: Path) -> None:
    """Each sees its own conversations, and goes on when the service was killed and started again."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running_service(tmp_path, **env))
        url = f"{service.url}/playground"
        ann, bob = (stack.enter_context(page_on(browser, url, statuses=(404,))) for _ in range(2))
        for page, question in ((ann, "Ann's question"), (bob, "Bob's question")):
            open_at(page)
            ask(page, question)
            answered(page, 1)
            expect(names(page)).to_have_text([question])
        home = ann.url
        ann.goto("about:blank")  # from the page itself it would be a step within it
        ann.goto(bob.url)
        open_at(ann)
        expect(ann.locator("#notice")).to_have_text(re.compile("does not exist"))
        assert ann.locator(".message").count() == 0
        ann.goto(home)
        expect(bubbles(ann)).to_have_count(2)
        for page in (ann, bob):
            page.wait_for_load_state("networkidle")  # Chromium loads the tab's icon when it likes
        service.process.kill()
        service.process.wait()
        again = stack.enter_context(running_service(tmp_path, PORT=str(service.address[1]), **env))
        assert again.url == service.url
        for page, question in ((ann, "Ann's question"), (bob, "Bob's question")):
            page.reload()
            expect(bubbles(page)).to_have_text([question, f"You said: {question}"])
            ask(page, "What did I ask before?")
            assert question in answered(page, 2)
            expect(names(page)).to_have_text([question])


def test_an_answer_that_the_service_lost(browser: Browser, upstream: Upstream, tmp_path: Path) -> None:
    """It is shown as the conversation has it, once Coze has completed it."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT}
    question = " ".join(str(number) for number in range(60))
    upstream.set(delta_seconds=0.1)
    with (
        running_service(tmp_path, **env) as service,
        page_on(browser, f"{service.url}/playground", statuses=(404,), lost=True) as page,
    ):
        open_at(page)
        ask(page, question)
        expect(page.locator(".bot .bubble")).to_contain_text("You said: 0 1 2")
        service.process.kill()
        service.process.wait()
        with running_service(tmp_path, PORT=str(service.address[1]), **env):
            expect(page.locator(".bot .bubble")).to_have_text(f"You said: {question}", timeout=40_000)
            assert answered(page, 1) == f"You said: {question}"
            expect(page.get_by_role("alert")).to_have_count(0)
            assert len(upstream.state()["chats"]) == 1


def test_a_conversation_is_renamed_and_deleted(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        for number, question in enumerate(("One", "Two", "Three")):
            page.get_by_role("button", name="New conversation").click()
            ask(page, question)
            answered(page, 1)
            expect(names(page)).to_have_count(number + 1)
        two = page.locator("#conversations li").filter(has_text="Two")
        two.hover()
        two.get_by_role("button", name="Rename: Two").click()
        field = page.get_by_role("textbox", name="New name")
        expect(field).to_be_focused()
        assert page.locator("#history").evaluate("bar => bar.scrollWidth <= bar.clientWidth")
        field.fill("Not this")
        field.press("Escape")
        expect(page.get_by_role("link", name="Two")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        field.fill("东京 <i>🗼</i>")
        field.press("Enter")
        expect(names(page)).to_have_text(["Three", "东京 <i>🗼</i>", "One"])
        wait_until(lambda: "东京 <i>🗼</i>" in [one["name"] for one in upstream.state()["conversations"]])
        # Not without being asked, and not for "no".
        asked = page.get_by_role("alertdialog", name="Delete the conversation?")
        for no in ("Escape", "Enter"):
            three = page.locator("#conversations li").filter(has_text="Three")
            three.hover()
            three.get_by_role("button", name="Delete: Three").click()
            expect(asked).to_contain_text("“Three”")
            expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
            page.keyboard.press(no)
            expect(three.get_by_role("button", name="Delete: Three")).to_be_focused()
        # Asked again before the browser has told that the dialog was closed, as on a slow machine.
        three.get_by_role("button", name="Delete: Three").evaluate(
            "button => { for (const one of [button, document.getElementById('confirm-no'), button]) one.click(); }"
        )
        expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(names(page)).to_have_text(["东京 <i>🗼</i>", "One"])
        expect(page.get_by_role("link", name="东京")).to_be_focused()
        expect(page.locator("#welcome")).to_be_visible()  # it was open
        ask(page, "Four")
        answered(page, 1)
        expect(names(page)).to_have_text(["Four", "东京 <i>🗼</i>", "One"])
        assert sorted(one["name"] for one in upstream.state()["conversations"]) == ["Four", "One", "东京 <i>🗼</i>"]


def test_a_conversation_that_was_deleted_elsewhere(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    """It is gone without an alarm, and its next question is kept for a new one."""
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(404,)) as page:
        open_at(page)
        with of_visitor(page, on_sandbox) as elsewhere:
            ids = [
                elsewhere.post("/chat", json=say(text)).json()["conversation_id"] for text in ("One", "Two", "Three")
            ]
            page.reload()
            page.get_by_role("link", name="Three").click()
            expect(bubbles(page)).to_have_count(2)
            assert elsewhere.delete(f"/conversations/{ids[2]}").status_code == 200
            page.get_by_label("Attach", exact=True).set_input_files(picture())
            page.get_by_label("Message", exact=True).fill("And then?")
            page.get_by_role("button", name="Send").click()
            expect(page.locator("#notice")).to_have_text(re.compile("does not exist any more"))
            expect(page.locator("#question")).to_have_value("And then?")
            expect(page.locator("#files li")).to_contain_text("evening.png")
            expect(names(page)).to_have_text(["Two", "One"])
            page.keyboard.press("Enter")
            assert "evening.png" in answered(page, 1)
            expect(names(page)).to_have_text(["And then?", "Two", "One"])
            assert elsewhere.delete(f"/conversations/{ids[1]}").status_code == 200
            page.get_by_role("link", name="Two").click()
            expect(page.locator("#notice")).to_have_text(re.compile("does not exist any more"))
            expect(names(page)).to_have_text(["And then?", "One"])
            assert page.get_by_role("alert").count() == 0
            page.get_by_role("link", name="One").click()
            expect(bubbles(page)).to_have_text(["One", "You said: One"])


def test_long_lists_come_page_by_page(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground") as page:
        open_at(page)
        with of_visitor(page, on_sandbox) as elsewhere:
            for number in range(22):
                chat = elsewhere.post("/chat", json=say(f"Conversation {number}")).json()
        added = f"{upstream.url}/sandbox/conversations/{chat['conversation_id']}/messages"
        http.post(added, json={"turns": 24}).raise_for_status()
        page.reload()
        listed = [f"Conversation {number}" for number in reversed(range(22))]
        expect(names(page)).to_have_text(listed[:20])
        ask(page, "Meanwhile")
        expect(names(page)).to_have_text(["Meanwhile", *listed[:20]])
        more = page.get_by_role("button", name="Show more")
        more.press("Enter")
        expect(names(page)).to_have_text(["Meanwhile", *listed])
        expect(more).to_be_hidden()
        expect(page.locator("#conversations a").nth(21)).to_be_focused()
        # 50 messages, the newest at the end; what is read stays in place when those before it come.
        page.get_by_role("link", name=listed[0]).click()
        expect(bubbles(page)).to_have_count(20)
        expect(bubbles(page).last).to_have_text("Answer 24")
        expect(bubbles(page).last).to_be_in_viewport()
        earlier = page.get_by_role("button", name="Earlier messages")
        for count in (40, 50):
            first = bubbles(page).first
            earlier.focus()
            top = first.element_handle()
            before = top.evaluate("bubble => bubble.getBoundingClientRect().top")
            earlier.press("Enter")
            expect(bubbles(page)).to_have_count(count)
            assert abs(top.evaluate("bubble => bubble.getBoundingClientRect().top") - before) < 60
            assert (
                focused(page) == "Earlier messages"
                if count < 50
                else page.evaluate("document.activeElement.id == 'log'")
            )
        texts = bubbles(page).all_inner_texts()
        assert texts[0] == listed[0]
        assert texts[2::2] == [f"Question {number}" for number in range(1, 25)]
        expect(earlier).to_have_count(0)


def test_an_answer_is_rated(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    def at_coze() -> list[dict[str, Any]]:
        (conversation,) = upstream.state()["conversations"]
        return list(conversation["feedback"].values())

    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(503,)) as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        group = page.get_by_role("group", name="Rate the answer")
        like, unlike = (group.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
        rows = len(wire(page))
        like.click()
        wait_until(lambda: [one["feedback_type"] for one in at_coze()] == ["like"])
        expect(page.locator("#events li")).to_have_count(rows + 3)  # until the service has answered, no press counts
        unlike.press("Enter")
        wait_until(lambda: [one["feedback_type"] for one in at_coze()] == ["unlike"])
        expect(like).to_have_attribute("aria-pressed", "false")
        expect(unlike).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#events li")).to_have_count(rows + 6)
        unlike.press("Space")
        wait_until(lambda: at_coze() == [])
        expect(unlike).to_have_attribute("aria-pressed", "false")
        page.reload()
        path = "/v1/conversations/{id}/messages/{message_id}/feedback"
        upstream.set(fail={f"POST {path}": {"code": 5000}})
        like.click()
        expect(group).to_contain_text("Coze")
        expect(like).to_have_attribute("aria-pressed", "false")
        # As on Coze Studio.
        upstream.set(fail={f"POST {path}": {"code": 404, "status": 404}})
        like.click()
        expect(group).to_be_hidden()
        expect(page.locator("#announcer")).to_contain_text("no such endpoint")


def test_a_visitor_whose_token_is_refused_becomes_another(browser: Browser, on_sandbox: Service) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(401, 404)) as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        before = page.get_by_label("User id").input_value()
        page.evaluate(
            "(key => localStorage.setItem(key, localStorage.getItem(key).slice(0, -4) + 'AAAA'))"
            "(`${location.pathname} visitor-token`)"
        )
        ask(page, "Hello again")
        expect(page.locator("#notice")).to_have_text(re.compile("does not exist any more"))
        expect(names(page)).to_have_count(0)
        page.keyboard.press("Enter")
        answered(page, 1)
        expect(names(page)).to_have_text(["Hello again"])
        after = page.get_by_label("User id").input_value()
        assert after.startswith("visitor_")
        assert after != before
        page.reload()
        expect(names(page)).to_have_text(["Hello again"])
        expect(page.get_by_label("API key")).to_be_hidden()


def test_a_user_id_that_is_typed_is_only_claimed(browser: Browser, on_sandbox: Service, upstream: Upstream) -> None:
    """It works as it does for any frontend without tokens, and lists nothing. Without it the visitor is back."""
    with page_on(browser, f"{on_sandbox.url}/playground", statuses=(401,)) as page:
        open_at(page)
        ask(page, "As a visitor")
        answered(page, 1)
        page.get_by_label("User id").fill("alice")
        ask(page, "As Alice")
        answered(page, 2)
        expect(page.locator(".divider")).to_have_text("New conversation")
        expect(page.get_by_role("navigation", name="Conversations")).to_be_hidden()
        visitor, alice = (chat["user_id"] for chat in upstream.state()["chats"])
        assert alice == "alice"
        page.reload()
        expect(page.get_by_label("User id")).to_have_value("alice")
        expect(page.locator("#notice")).to_contain_text("The conversation goes on.")
        ask(page, "What did I ask before?")
        assert "As Alice" in answered(page, 1)
        page.get_by_label("User id").fill("")
        page.get_by_label("User id").blur()
        expect(page.get_by_label("User id")).to_have_value(visitor)
        expect(names(page)).to_have_text(["As a visitor"])
        assert "conversation_id" not in page.url


def test_the_side_bar_is_a_drawer_where_there_is_little_room(
    browser: Browser, on_sandbox: Service, bots: dict[str, str]
) -> None:
    with page_on(browser, f"{on_sandbox.url}/playground", viewport={"width": 360, "height": 740}) as page:
        open_at(page)
        menu = page.get_by_role("button", name="Conversations")
        drawer = page.get_by_role("dialog", name="Conversations")
        ask(page, "One")
        answered(page, 1)
        page.get_by_role("button", name="New conversation").click()
        page.get_by_label("Bot id").fill(bots["for-ever"])
        ask(page, "Two")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(drawer).to_be_hidden()
        menu.press("Enter")
        expect(drawer).to_be_visible()
        expect(names(page)).to_have_text(["Two", "One"])
        assert drawer.evaluate("drawer => drawer.contains(document.activeElement)")
        for _ in range(12):  # the keyboard does not leave it for what is behind
            page.keyboard.press("Tab")
            assert page.evaluate("!document.activeElement.closest('header, main, aside')")
        page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()
        expect(menu).to_be_focused()
        expect(page.get_by_role("button", name="Stop")).to_be_visible()  # Escape was for the drawer
        menu.click()
        page.mouse.click(350, 400)
        expect(drawer).to_be_hidden()
        menu.click()
        drawer.get_by_role("link", name="One").click()
        expect(drawer).to_be_hidden()
        expect(bubbles(page)).to_have_text(["One", "You said: One"])
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        expect(page.locator("#send")).to_be_in_viewport(ratio=1)
        page.set_viewport_size({"width": 1280, "height": 800})
        expect(menu).to_be_hidden()
        expect(page.get_by_role("navigation", name="Conversations").get_by_role("link")).to_have_count(2)


def test_a_backend_s_user_and_a_user_with_a_token(browser: Browser, with_keys: Service, upstream: Upstream) -> None:
    signed = jwt.encode(
        {"alg": "HS256"}, {"sub": "carol", "exp": 2**31}, OctKey.import_key(SECRET), algorithms=["HS256"]
    )
    with page_on(browser, f"{with_keys.url}/playground", statuses=(401,)) as page:
        open_at(page)
        expect(page.get_by_label("API key")).to_be_visible()
        expect(page.get_by_role("navigation", name="Conversations")).to_be_hidden()
        page.get_by_label("API key").fill(KEY)
        page.get_by_label("User id").fill("carol")
        page.get_by_label("Attach", exact=True).set_input_files(picture())
        page.get_by_label("Message", exact=True).fill("From the backend")
        page.get_by_role("button", name="Send").click()
        answered(page, 1)
        expect(names(page)).to_have_text(["From the backend"])
        page.get_by_label("User id").fill("dave")
        page.get_by_label("User id").blur()
        expect(names(page)).to_have_count(0)
        # The token says who the user is, whatever the field does.
        page.get_by_label("API key").fill(signed)
        page.get_by_label("API key").blur()
        page.get_by_role("link", name="From the backend").click()
        expect(page.get_by_role("img", name="evening.png")).to_be_visible()
        ask(page, "From Carol")
        answered(page, 2)
        assert [chat["user_id"] for chat in upstream.state()["chats"]] == ["carol", "carol"]
        assert signed not in "".join(wire(page))


def test_a_service_that_keeps_no_history(browser: Browser, start: Start, upstream: Upstream) -> None:
    service = start(STORE="off")
    with page_on(browser, f"{service.url}/playground") as page:
        open_at(page)
        ask(page, "Hello")
        answered(page, 1)
        ask(page, "What did I ask before?")
        assert "Hello" in answered(page, 2)
        expect(page.get_by_role("navigation", name="Conversations")).to_be_hidden()
        expect(page.get_by_role("group", name="Rate the answer")).to_have_count(0)
        user = page.get_by_label("User id").input_value()
        page.reload()
        open_at(page)
        expect(page.get_by_label("User id")).to_have_value(user)
        # The address keeps the conversation, though nobody its messages.
        expect(page.locator("#notice")).to_contain_text("The conversation goes on.")
        ask(page, "What did I ask before?")
        assert "What did I ask before?" in answered(page, 1)
        assert len({chat["conversation_id"] for chat in upstream.state()["chats"]}) == 1
        page.get_by_role("button", name="New conversation").click()
        page.go_back()
        expect(page.locator("#notice")).to_contain_text("The conversation goes on.")


def test_the_bots_and_how_they_open(browser: Browser, start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    service = start(BOTS=f"helper:{bots['variables']},thinker:{bots['reasoning']},lost:7000000000000000000")
    icon = f"{service.url}/playground/assets/icon.svg"
    opening = {"prologue": "Hello {{user_name}}!\n<b>Ask</b>", "suggested_questions": ["Who are you?", "<i>Why?</i>"]}
    upstream.set(bots={BOT: {"name": "<b>Ada</b>", "icon_url": icon, "onboarding_info": opening}})
    with page_on(browser, f"{service.url}/playground", statuses=(404,)) as page:
        open_at(page)
        welcome = page.locator("#welcome")
        expect(welcome).to_contain_text("<b>Ada</b>")
        expect(welcome.locator("#opening")).to_have_text("Hello guest! <b>Ask</b>")
        picture_of_bot = welcome.locator("img")
        expect(picture_of_bot).to_have_attribute("src", icon)
        page.wait_for_function("image => image.naturalWidth > 0", arg=picture_of_bot.element_handle())
        expect(welcome.get_by_role("button")).to_have_text(["Who are you?", "<i>Why?</i>"])
        # Another one, whose picture is elsewhere and not over TLS: a letter stands for it.
        choice = page.get_by_role("combobox", name="Bot")
        expect(choice.locator("option")).to_have_count(4)
        choice.select_option("reasoning")
        expect(welcome.locator("#bot-name")).to_have_text("reasoning")
        expect(welcome.locator("#face")).to_have_text("R")
        welcome.get_by_role("button", name="Who are you?").press("Enter")
        answered(page, 1)
        assert page.locator("#log").evaluate("log => log === document.activeElement")
        page.reload()
        expect(bubbles(page)).to_have_count(2)
        expect(choice).to_have_value(bots["reasoning"])
        page.get_by_role("button", name="New conversation").click()
        choice.select_option("<b>Ada</b>")
        ask(page, "Hello")
        answered(page, 1)
        page.get_by_role("link", name="Who are you?").click()
        expect(choice).to_have_value(bots["reasoning"])
        expect(page.get_by_text("Opening the conversation…")).to_have_count(0)
        ask(page, "And now?")
        answered(page, 2)
        assert [chat["bot_id"] for chat in upstream.state()["chats"]] == [bots["reasoning"], BOT, bots["reasoning"]]
        # Of this one Coze tells nothing.
        page.get_by_role("button", name="New conversation").click()
        choice.select_option("lost")
        expect(welcome.locator("#bot-name")).to_have_text("Ask your bot something.")
        expect(welcome.get_by_role("button")).to_have_text(["Hello! Who are you?", "What can you do?"])
