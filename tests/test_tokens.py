"""Tokens that do not die: fetched with a key and renewed in time, or read from a file that somebody else renews."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import BOT, Service, Start, Upstream, changed, http, wait_until
from joserfc.jwk import RSAKey

from service import sandbox
from service.coze.tokens import lifetime

TOKEN_PATH = "/api/permission/oauth2/token"
USER_PATH = "/v1/users/me"
KEY = RSAKey.generate_key(2048)
PEM = KEY.as_pem(private=True).decode()
PUBLIC_PEM = KEY.as_pem(private=False).decode()
OTHER_PUBLIC_PEM = RSAKey.generate_key(2048).as_pem(private=False).decode()


@pytest.fixture(scope="module")
def coze() -> Iterator[Upstream]:
    """A sandbox of this module's own, which knows the app's public key."""
    with sandbox.running(delta_seconds=0) as url:
        yield Upstream(url)


@pytest.fixture(autouse=True)
def fresh(coze: Upstream) -> None:
    coze.reset()
    coze.set(oauth_public_key=PUBLIC_PEM)


@pytest.fixture(scope="module")
def with_key(coze: Upstream, start: Start) -> Callable[..., Service]:
    """Starts a service that fetches its tokens."""

    def start_one(*arguments: str, **env: str) -> Service:
        way = {"COZE_JWT_OAUTH_CLIENT_ID": "310000000002", "COZE_JWT_OAUTH_PUBLIC_KEY_ID": "fingerprint"}
        way |= {"COZE_API_TOKEN": "", "COZE_JWT_OAUTH_PRIVATE_KEY": PEM.replace("\n", "\\n")}
        return start(*arguments, **way, COZE_API_BASE=coze.url, **env)

    return start_one


@pytest.fixture(scope="module")
def renewing(with_key: Callable[..., Service]) -> Service:
    """The service that the tests of renewal share; each begins without a good token."""
    return with_key(LOG_LEVEL="DEBUG", HEALTH_INTERVAL="0")


def fetches(coze: Upstream) -> int:
    return int(coze.state(0)["requests"].get(f"POST {TOKEN_PATH}", 0))


def logged(service: Service, event: str) -> int:
    return sum(line["event"] == event for line in service.lines())


def refused_by_coze(service: Service, coze: Upstream) -> bool:
    """Lets Coze refuse the token once; whether it did."""
    coze.set(fail={**coze.state(0)["settings"]["fail"], USER_PATH: {"code": 4100, "status": 401, "times": 1}})
    return service.http.get("/api/v1/user/info").status_code == 500


@contextlib.contextmanager
def chatting(service: Service) -> Iterator[list[int]]:
    """Two clients that chat all the time while the block runs; their statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def work(stream: bool) -> None:
        while not over.is_set():
            statuses.append(service.chat("Hello", stream=stream).status_code)
            time.sleep(0.03)

    with ThreadPoolExecutor(2) as clients:
        running = [clients.submit(work, stream) for stream in (True, False)]
        try:
            yield statuses
        finally:
            over.set()
            for one in running:
                one.result()


def test_many_chats_on_a_cold_start_fetch_one_token(coze: Upstream, with_key: Callable[..., Service]) -> None:
    service = with_key()
    coze.set(oauth_delay_seconds=0.5, oauth_expires_in=900)
    with ThreadPoolExecutor(100) as clients:
        answers = list(clients.map(lambda _: service.chat(), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert fetches(coze) == 1
    # Seconds in place of a point in time would end the token at once.
    assert logged(service, "a token's end is not believed") == 1


def test_a_token_that_does_not_live_long_is_renewed_before_it_ends(
    coze: Upstream, with_key: Callable[..., Service]
) -> None:
    service = with_key()
    coze.set(oauth_most_seconds=6)
    with chatting(service) as statuses:
        wait_until(lambda: logged(service, "token fetched") == 2)
        time.sleep(2)  # the first token has ended by then
    assert set(statuses) == {200}


def test_nobody_waits_for_a_new_token_while_the_old_one_is_good(
    coze: Upstream, with_key: Callable[..., Service]
) -> None:
    service = with_key(*changed(token_renew_after=0.005), COZE_REQUEST_TIMEOUT="60")
    coze.set(oauth_most_seconds=600)
    with chatting(service) as statuses:
        wait_until(lambda: logged(service, "token fetched"))
        coze.set(fail={TOKEN_PATH: {"kind": "hang", "times": 1_000_000}})
        before = fetches(coze)
        wait_until(lambda: fetches(coze) > before)
        seen, tokens = len(statuses), logged(service, "token fetched")
        wait_until(lambda: len(statuses) > seen + 8)
        assert logged(service, "token fetched") == tokens
    assert set(statuses) == {200}


def test_while_no_token_can_be_fetched_the_one_that_lives_goes_on(coze: Upstream, renewing: Service) -> None:
    wait_until(lambda: renewing.chat().status_code == 200)
    with chatting(renewing) as statuses:
        coze.set(fail={TOKEN_PATH: {"kind": "html502", "times": 1_000_000}})
        # A refusal counts only some seconds after the token was fetched.
        wait_until(lambda: refused_by_coze(renewing, coze) and logged(renewing, "token not fetched"))
        wait_until(lambda: logged(renewing, "token not fetched") >= 3)
        before = logged(renewing, "token fetched")
        coze.set(fail={})
        wait_until(lambda: logged(renewing, "token fetched") > before)
    assert set(statuses) == {200}


def test_a_revoked_token_is_replaced(coze: Upstream, renewing: Service) -> None:
    wait_until(lambda: renewing.chat().status_code == 200)
    http.post(f"{coze.url}/sandbox/revoke").raise_for_status()
    refused = renewing.chat(stream=True)
    assert refused.status_code == 500
    assert "does not accept the service's token" in refused.json()["message"]
    assert "COZE_API_TOKEN" not in refused.json()["message"]
    wait_until(lambda: renewing.chat(stream=True).status_code == 200)
    # A fault of another endpoint that looks like a bad token does not make a fetch of every call.
    begin, already = time.monotonic(), fetches(coze)
    coze.set(fail={USER_PATH: {"code": 4100, "times": 1_000_000}})
    for _ in range(30):
        assert renewing.http.get("/api/v1/user/info").status_code == 500
    assert fetches(coze) - already <= 1 + (time.monotonic() - begin) / 2


def test_what_keeps_a_token_from_being_fetched_is_said_and_heals(
    coze: Upstream, with_key: Callable[..., Service]
) -> None:
    service = with_key(COZE_REQUEST_TIMEOUT="0.5", COZE_FIRST_EVENT_TIMEOUT="5")

    def says(status: int, message: str) -> bool:
        answer = service.chat()
        return answer.status_code == status and message in answer.json()["message"]

    coze.set(oauth_public_key=OTHER_PUBLIC_PEM)
    assert says(500, "COZE_JWT_OAUTH_")
    assert service.http.get("/health").status_code == 503
    coze.set(fail={TOKEN_PATH: {"kind": "hang", "times": 1_000_000}})
    wait_until(lambda: says(503, "took too long"))
    coze.set(fail={}, oauth_public_key=PUBLIC_PEM)
    wait_until(lambda: says(200, ""))
    assert coze.state(0)["requests"]["POST /v3/chat"] == 1


@pytest.mark.parametrize("odd", [None, "soon", True, 900, -1, 1e18, 10**400, [], {}], ids=lambda odd: str(odd)[:9])
def test_an_odd_end_of_a_token_is_not_believed(odd: object) -> None:
    assert lifetime(odd) is None


def test_an_end_in_due_time_is_believed() -> None:
    seconds = lifetime(time.time() + 900)
    assert seconds is not None
    assert 890 < seconds <= 900


def test_neither_key_nor_token_appears_anywhere(coze: Upstream, renewing: Service) -> None:
    """After all that has happened to the service at the level DEBUG."""
    wait_until(lambda: renewing.chat().status_code == 200)
    process = Path(f"/proc/{renewing.process.pid}/cmdline").read_bytes()
    said = renewing.output() + process.decode() + renewing.http.get("/api/v1/config").text
    secrets = ["czs_", "eyJ", *PEM.splitlines()]
    assert [secret for secret in secrets if secret in said] == []
    assert "Traceback" not in said


def test_a_token_file_is_read_again_when_it_changes(
    coze: Upstream, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("token")
    file = folder / "token"
    file.write_text("pat_1\n")
    service = start(COZE_API_TOKEN="", COZE_API_TOKEN_FILE=str(file), COZE_API_BASE=coze.url)

    def status() -> int:
        return service.http.get("/api/v1/user/info").status_code

    def swap(content: str) -> None:
        (folder / "new").write_text(content)
        (folder / "new").rename(file)

    assert status() == 200
    swap("pat_forbidden_1\n")
    wait_until(lambda: status() == 500)
    file.write_text("sat_2")
    wait_until(lambda: status() == 200)
    with chatting(service) as statuses:
        for number in range(2):
            swap(f"pat_{number}\n")
            with file.open("r+") as writer:  # what a reader sees here is no token that Coze takes
                writer.truncate()
                writer.write("p")
                writer.flush()
                time.sleep(0.6)
                writer.write(f"at_in_place_{number}\n")
        file.write_text("")
        os.utime(file, (1, 1))  # long since, so that it counts as written
        wait_until(lambda: logged(service, "token file cannot be used, the last token stays") == 1)
        file.unlink()
        time.sleep(1.2)
    assert set(statuses) == {200}
    assert logged(service, "token file cannot be used, the last token stays") == 1
    swap("pat_forbidden_2")
    wait_until(lambda: status() == 500)
    assert "pat_" not in service.output()


def test_the_sandbox_s_token_stands_alone(start: Start) -> None:
    both = {"COZE_API_TOKEN": "pat_other", "COZE_API_TOKEN_FILE": "/nowhere", "COZE_JWT_OAUTH_CLIENT_ID": "1"}
    # Nor does a proxy lead to it.
    both |= {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"}
    service = start("--sandbox", **both, COZE_API_BASE="", COZE_BOT_ID="", WORKERS="2")
    assert service.chat(bot=BOT).status_code == 200
