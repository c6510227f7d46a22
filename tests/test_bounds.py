"""The bounds of service/bounds.py that are too large to wait for or to fill, on services that start with small ones."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Service, Start, Upstream, changed, events_of, http, text_of, wait_until
from envelope import assert_error
from scripted_coze import PLAIN_HEAD, STARTED, ScriptedCoze, sized

from service.bounds import Bounds
from service.files import links

HEAD = b"POST /api/v1/%b HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
FLOOD = 40 * 1024**2


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.reset()
    upstream.set(delta_seconds=0)


@pytest.fixture(scope="module")
def small(start: Start) -> Service:
    """A service whose bounds of a client's connection, of bodies and of answers are small."""
    service = start(
        *changed(client_idle_seconds=0.3, drain_seconds=0.5, drained_bytes=100_000, linger_seconds=0.5),
        *changed(linger_bytes=100_000, form_parts=2, spool_bytes=1000, download_chunk_bytes=1000),
        *changed(files_copy_bytes=1000, answer_characters=1000, delta_characters=10, write_bytes=100),
        *changed(error_characters=20, request_headers=20, request_head_bytes=4096, files_clean_seconds=0.2),
    )
    # One that is kept open may end just as the next request comes on it.
    service.http.headers["Connection"] = "close"
    return service


@contextlib.contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(service.address, timeout=20) as connection:
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """What still comes until the service ends the connection; more than 20 s of nothing fail the test."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def test_an_idle_connection_is_closed(small: Service) -> None:
    with connected(small) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_comes_for_too_long_is_refused(start: Start) -> None:
    """However steadily it comes."""
    with connected(start(*changed(body_seconds=1))) as connection:
        connection.sendall(HEAD % (b"chat", b"application/json", 2_000_000))
        connection.settimeout(0.05)
        answer = b""
        for _ in range(400):
            connection.sendall(b" " * 1000)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
        assert b"The request's body did not arrive in time." in answer


def test_an_early_answer_is_followed_by_so_many_bytes_at_most(small: Service) -> None:
    sent = 0
    with connected(small) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(HEAD % (b"upload", b"text/plain", FLOOD))
        while sent < FLOOD:
            sent += connection.send(bytes(65536))
    # What the system holds on both sides comes on top.
    assert sent < FLOOD // 2


def test_who_stops_sending_after_an_early_answer_is_not_waited_for(small: Service) -> None:
    with connected(small) as connection:
        connection.sendall(HEAD % (b"upload", b"text/plain", 10_000))
        assert rest_of(connection).startswith(b"HTTP/1.1 400 ")


def test_a_head_and_its_headers_are_bounded(small: Service) -> None:
    assert small.http.get("/", headers={f"x-{number}": "y" for number in range(10)}).status_code == 200
    assert_error(small.http.get("/", headers={f"x-{number}": "y" for number in range(20)}), 400)
    assert_error(small.http.get("/", headers={"x": "y" * 20_000}), 400)


def test_a_form_has_few_parts(small: Service) -> None:
    file = {"file": ("a.txt", b"1")}
    assert small.http.post("/api/v1/upload", files=file, data={"description": "d"}).status_code == 200
    answer = small.http.post("/api/v1/upload", files=file, data={"description": "d", "more": "m"})
    assert assert_error(answer, 400) == "The form has more than 2 parts, or too long a name of one."


def test_a_file_that_goes_in_pieces_stays_whole(small: Service, upstream: Upstream) -> None:
    """Into the spool, into the store, and out of it, whole and in ranges."""
    content = b"0123456789abcde\n" * 320
    url = small.http.post("/api/v1/upload", files={"file": ("a.txt", content)}).json()["file_url"]
    assert upstream.state()["uploads"][-1]["bytes"] == len(content)
    assert small.http.get(url).content == content
    assert small.http.get(url, headers={"range": "bytes=990-3010"}).content == content[990:3011]


def test_files_are_cleaned_up_again_and_again(small: Service) -> None:
    folder = Path(psutil.Process(small.process.pid).cwd()) / ".files"
    for _ in range(2):
        # As a crash leaves it.
        leftover = folder / f"{links.new_name(time.time() + 99)}.part"
        folder.mkdir(exist_ok=True)
        leftover.touch()
        wait_until(lambda: not leftover.exists())  # noqa: B023


def test_a_json_answer_is_bounded_a_stream_is_not(small: Service, bots: dict[str, str]) -> None:
    def asked(characters: int, *, stream: bool = False) -> dict[str, object]:
        return {"content": f"n={characters // 100} d=0 size=100", "bot": bots["load"], "stream": stream}

    assert small.chat(**asked(900)).status_code == 200  # type: ignore[arg-type]
    assert_error(small.chat(**asked(1100)), 503)  # type: ignore[arg-type]
    assert len(text_of(events_of(small.chat(**asked(5000, stream=True)).text))) == 5000  # type: ignore[arg-type]


def test_a_long_delta_becomes_several(small: Service) -> None:
    events = events_of(small.chat("x" * 95, stream=True).text)
    assert text_of(events).endswith("x" * 95)
    assert max(len(event["content"]) for event in events if event["type"] == "message_delta") == 10


def test_what_is_wrong_with_a_request_is_said_in_short(small: Service) -> None:
    message = assert_error(small.http.post("/api/v1/chat", json={"user_id": 5}), 400)
    assert message.endswith("…")
    assert len(message) == 21


def test_so_many_pages_of_workspaces_are_asked_for(start: Start, service: Service, upstream: Upstream) -> None:
    everything = service.http.get("/api/v1/workspaces").json()["data"]
    assert len(everything) == 3
    upstream.reset()
    narrow = start(*changed(workspaces_page=1, workspaces_pages=2))
    assert narrow.http.get("/api/v1/workspaces").json()["data"] == everything[:2]
    assert upstream.state()["requests"]["GET /v1/workspaces"] == 2


def test_beside_the_chats_there_are_so_many_connections_to_coze(start: Start) -> None:
    over = threading.Event()

    def answer(request: bytes) -> Iterator[bytes]:
        if request.startswith(b"POST /v3/chat "):
            yield PLAIN_HEAD + b"\r\n" + STARTED
            over.wait(60)
        else:
            time.sleep(0.05)  # so that others come meanwhile, and each would have a connection of its own
            yield sized(b'{"code":0,"data":{"user_id":"1"}}')

    with ScriptedCoze(answer) as coze, ThreadPoolExecutor(10) as pool:
        # However slow the machine, no idle connection ends in the course of the test.
        bounds = changed(coze_spare_connections=1, coze_idle_seconds=3600)
        service = start(*bounds, COZE_API_BASE=coze.url, MAX_CONCURRENT_CHATS="1")

        def info(_: object) -> int:
            return http.get(f"{service.url}/api/v1/user/info").status_code

        question = {"user_id": "u", "messages": [{"role": "user", "content": "?"}], "stream": True}
        with http.stream("POST", f"{service.url}/api/v1/chat", json=question) as chat:
            assert chat.status_code == 200
            lines = chat.iter_lines()  # without a name it would be gone at once, and the connection with it
            next(lines)
            assert list(pool.map(info, range(10))) == [200] * 10
            over.set()
            assert coze.numbers(b"POST /v3/chat ") == [0]
            assert coze.numbers(b"GET /v1/users/me ") == [1] * 10


def test_a_larger_answer_of_coze_is_not_read(start: Start) -> None:
    assert_error(start(*changed(coze_answer_bytes=20)).http.get("/api/v1/user/info"), 503, retry=False)


def test_workers_that_do_not_start_in_time_end_the_service(upstream: Upstream) -> None:
    command = [sys.executable, "-m", "service", *changed(worker_start_seconds=0, worker_early_deaths=2)]
    env = {"PATH": "", "WORKERS": "2", "PORT": "0", "COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert events.count("worker hangs") >= 2
    assert events.count("worker died") == 2
    assert "the workers cannot run" in events


# Which test reaches a bound that none names: as it is, with real bytes, or because it is short.
REACHED = {
    "stalled_bytes": "test_http.py::test_who_reads_slowly_gets_everything",
    "framing_bytes_a_byte": "test_http.py::test_a_body_in_the_smallest_chunks_is_taken",
    "unread_body_bytes": "test_http.py::test_a_body_that_nobody_reads_is_not_taken_in",
    "pipelined_bytes": "test_http.py::test_too_much_behind_a_request_makes_its_answer_the_last",
    "parsed_at_once_bytes": "test_http.py::test_too_much_behind_a_request_makes_its_answer_the_last",
    "stop_idle_seconds": "test_stopping.py::test_idle_connections_do_not_hold_it_up",
    "body_bytes_a_second": "test_http.py::test_a_body_that_hardly_comes_is_refused",
    "bodies_bytes": "test_http.py::test_bodies_that_do_not_end_share_a_bound",
    "small_bodies_bytes": "test_http.py::test_bodies_that_do_not_end_share_a_bound",
    "large_body_bytes": "test_http.py::test_bodies_that_do_not_end_share_a_bound",
    "reconnect_seconds": "unit/answers/test_last_event.py::test_an_id_is_known_by_what_was_asked_and_when",
    "count_retry_seconds": "test_shared_limit.py::test_a_store_that_dies_and_comes_back",
    "coze_head_bytes": "unit/coze/http/test_reader.py::test_every_part_has_a_bound",
    "coze_attempts": "test_exchange.py::test_connections_that_have_all_gone_bad_fail_nobody",
    "coze_name_seconds": "test_pool.py::test_a_name_is_asked_for_once",
    "coze_next_address_seconds": "test_pool.py::test_every_address_of_a_name_is_tried",
    "coze_ahead_bytes": "test_fair_turns.py::test_a_client_that_takes_no_more_is_given_no_more",
    "turn_extra_lines": "unit/coze/http/test_backlog.py::test_where_lines_are_dense",
    "leave_named_seconds": "test_leaving.py::test_a_chat_that_completed_is_not_cancelled",
    "deletions_seconds": "test_conversations.py::test_a_chat_that_another_process_reads_is_stopped_too",
    "token_file_seconds": "test_tokens.py::test_a_token_file_is_read_again_when_it_changes",
    "token_seconds": "test_tokens.py::test_an_odd_end_of_a_token_is_not_believed",
    "token_renew_after": "test_tokens.py::test_a_token_that_does_not_live_long_is_renewed_before_it_ends",
    "token_use_until": "test_tokens.py::test_while_no_token_can_be_fetched_the_one_that_lives_goes_on",
    "token_shortest_seconds": "test_tokens.py::test_an_odd_end_of_a_token_is_not_believed",
    "token_slack_seconds": "test_tokens.py::test_an_odd_end_of_a_token_is_not_believed",
    "token_retry_seconds": "test_tokens.py::test_what_keeps_a_token_from_being_fetched_is_said_and_heals",
    "user_token_characters": "unit/users/test_tokens.py::test_a_form_that_is_none",
    "user_token_leeway_seconds": "unit/users/test_tokens.py::test_an_end_that_is_past",
    "user_id_characters": "unit/users/test_tokens.py::test_what_is_no_id",
    "spans_goodbye_seconds": "test_traces.py::test_a_stop_does_not_wait_for_it",
    "spans_complaint_seconds": "test_traces.py::test_a_collector_that_is_away_costs_a_line_and_nothing_else",
    "last_events_seconds": "test_stopping.py::test_clients_that_do_not_read_do_not_hold_it_up",
    "workers_check_seconds": "test_workers.py::test_a_killed_worker_is_replaced_and_the_others_serve_on",
    "worker_healthy_seconds": "test_workers.py::test_workers_that_cannot_run_end_the_service",
    "worker_beat_seconds": "test_workers.py::test_a_worker_that_hangs_is_replaced",
}


def test_every_bound_is_reached() -> None:
    """By a test that names it, or by the one that stands here."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for test in REACHED.values():
        file, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", sources[ROOT / "tests" / file], re.MULTILINE), test
    sources[Path(__file__)] = sources[Path(__file__)].partition("\nREACHED = {")[0]
    words = set(re.findall(r"\w+", " ".join(sources.values())))
    named = {field.name for field in fields(Bounds)} & words
    assert {field.name for field in fields(Bounds)} == named | set(REACHED)
