"""WORKERS processes on one port: all serve, a dead one is replaced, all restart and stop without losing a chat."""

import signal
from pathlib import Path

import httpx
import psutil
from conftest import Service, Start, Upstream, events_of, wait_until
from test_stopping import SLOW, Background


def workers(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children()


def serving(service: Service, count: int) -> bool:
    """Whether as many workers run, and each has taken up its work."""
    running = workers(service)
    return len(running) == count and all(process.num_threads() > 1 for process in running)


def ask(service: Service, times: int = 50) -> set[int]:
    return {httpx.get(f"{service.url}/", timeout=60).status_code for _ in range(times)}


def test_a_killed_worker_is_replaced_and_the_others_serve_on(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}
    wait_until(lambda: len(workers(service)) == 2)
    victim = workers(service)[0]
    victim.kill()
    wait_until(lambda: victim.pid not in [process.pid for process in workers(service)] and len(workers(service)) == 2)
    wait_until(lambda: any(line["event"] == "worker died" for line in service.lines()))
    assert ask(service) == {200}
    assert service.stop() == 0
    assert not psutil.pid_exists(victim.pid) or psutil.Process(victim.pid).status() == psutil.STATUS_ZOMBIE


def test_chats_finish_before_the_workers_do(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    upstream.reset()
    service = start(WORKERS="2")
    chats = [Background(service, {**SLOW, "bot_id": bots["load"], "stream": number % 2 == 0}) for number in range(8)]
    wait_until(lambda: upstream.state(0)["streams"] == 8)
    assert service.stop(signal.SIGINT) == 0
    for chat in chats:
        chat.join()
        assert chat.status == 200
    for chat in chats[::2]:
        assert [event["type"] for event in events_of(chat.text)[-2:]] == ["chat_completed", "end"]


def test_what_does_not_finish_is_ended_in_every_worker(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    upstream.reset()
    service = start(WORKERS="2", SHUTDOWN_GRACE="1")
    chats = [Background(service, {**SLOW, "bot_id": bots["for-ever"]}) for _ in range(8)]
    wait_until(lambda: upstream.state(0)["streams"] == 8)
    assert service.stop() == 0
    for chat in chats:
        chat.join()
        assert [event["type"] for event in events_of(chat.text)[-2:]] == ["error", "end"]
    assert [chat["cancel_calls"] for chat in upstream.state()["chats"]] == [1] * 8


def test_a_restart_of_all_refuses_nobody(start: Start, upstream: Upstream, bots: dict[str, str]) -> None:
    upstream.reset()
    service = start(WORKERS="2")
    chat = Background(service, {**SLOW, "bot_id": bots["load"]})
    assert chat.begun.wait(60)
    wait_until(lambda: len(workers(service)) == 2)
    before = {process.pid for process in workers(service)}
    service.process.send_signal(signal.SIGHUP)

    def replaced() -> bool:
        # On new connections, and on one that is kept open.
        assert ask(service, 5) == {200}
        assert {service.chat().status_code for _ in range(5)} == {200}
        now = {process.pid for process in workers(service)}
        return len(now) == 2 and not now & before

    wait_until(replaced, 60)
    chat.join()
    assert [event["type"] for event in events_of(chat.text)[-2:]] == ["chat_completed", "end"]
    assert service.stop() == 0


def test_a_stop_is_not_forgotten_for_a_restart(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}
    service.process.send_signal(signal.SIGTERM)
    service.process.send_signal(signal.SIGHUP)
    assert service.process.wait(60) == 0


def test_a_restart_that_would_fail_keeps_the_old_workers(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}
    before = {process.pid for process in workers(service)}
    dotenv = Path(str(psutil.Process(service.process.pid).cwd())) / ".env"
    dotenv.write_text("LOG_LEVEL=NOPE\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("does not serve" in line["event"] for line in service.lines()), 60)
    assert {process.pid for process in workers(service)} == before
    assert ask(service) == {200}
    dotenv.unlink()
    assert service.stop() == 0


def test_workers_do_not_outlive_their_parent(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}
    wait_until(lambda: serving(service, 2))
    children = workers(service)
    service.process.kill()
    service.process.wait()
    psutil.wait_procs(children, timeout=60)
    assert not [process for process in children if process.is_running()]


def test_workers_that_cannot_run_end_the_service(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}

    def ended() -> bool:
        if service.process.poll() is not None:
            return True
        for process in workers(service):
            process.kill()
        return False

    wait_until(ended, 60)
    assert service.process.returncode == 1


def test_the_sandbox_serves_all_workers(start: Start) -> None:
    service = start("--sandbox", WORKERS="2", SANDBOX_DELTA_SECONDS="0")
    first = service.chat("My name is Ada").json()
    for turn in range(6):
        with httpx.Client() as client:
            body = {
                "user_id": "u",
                "conversation_id": first["conversation_id"],
                "messages": [{"role": "user", "content": "What did I ask before?"}],
            }
            answer = client.post(f"{service.url}/api/v1/chat", json=body).json()
        assert f"the conversation holds {2 + 2 * turn} messages" in answer["data"]["content"]
    assert service.http.get("/api/v1/config").json()["data"]["environment"] == "sandbox"
    assert service.stop() == 0


def test_it_says_that_each_worker_counts_for_itself(start: Start) -> None:
    service = start(WORKERS="2", ENABLE_RATE_LIMIT="true")
    assert any("each worker counts for itself" in line["event"] for line in service.lines())
