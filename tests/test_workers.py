"""WORKERS processes on one port: all serve, a dead one is replaced, all restart and stop without losing a chat."""

import contextlib
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
from conftest import BOT, Service, Start, Upstream, changed, events_of, http, running_service, wait_until
from scripted_coze import DONE, HEAD, STARTED, ScriptedCoze, chunk
from test_stopping import CHAT, SLOW, Background

from service.observe import metrics_folder


def workers(service: Service) -> list[psutil.Process]:
    # psutil's own `children` looks at every process of the machine.
    pid, found = service.process.pid, []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(int(child)))
    return found


def is_asked(worker: psutil.Process, service: Service) -> bool:
    """Whether the worker has a connection with a client."""
    return any(one.raddr and one.laddr.port == service.address[1] for one in worker.net_connections())


def serves(worker: psutil.Process) -> bool:
    """Whether the worker's loop waits for connections: an epoll of its own watches the listening socket."""
    with contextlib.suppress(OSError, psutil.Error):  # as it may have ended meanwhile
        command = worker.cmdline()
        # Until it runs its own, it has its parent's.
        if "--worker" not in command:
            return False
        watched = [file.read_text() for file in Path(f"/proc/{worker.pid}/fdinfo").iterdir()]
        return any(re.search(rf"^tfd: *{command[-1]} ", text, re.MULTILINE) for text in watched)
    return False


def serving(service: Service, count: int) -> bool:
    """Whether as many workers run, and each has taken up its work."""
    running = workers(service)
    return len(running) == count and all(map(serves, running))


def ask(service: Service, times: int = 50) -> set[int]:
    return {http.get(f"{service.url}/", timeout=60).status_code for _ in range(times)}


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


def test_chats_finish_before_the_workers_do(start: Start) -> None:
    stopping = threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        yield HEAD + b"\r\n" + chunk(STARTED)
        # However long the chats take to begin, none is over before the stop.
        stopping.wait(60)
        yield chunk(DONE) + chunk(b"")

    with ScriptedCoze(answer) as coze:
        service = start(WORKERS="2", COZE_API_BASE=coze.url)
        chats = [Background(service, {**SLOW, "stream": number % 2 == 0}) for number in range(8)]
        wait_until(lambda: len(coze.numbers(CHAT)) == 8)
        service.process.send_signal(signal.SIGINT)
        wait_until(lambda: any(line["event"] == "stopping" for line in service.lines()))
        stopping.set()
        assert service.process.wait(60) == 0
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


@contextlib.contextmanager
def held_restart(service: Service, bot: str) -> Iterator[None]:
    """A restart that waits for a worker that goes, whose chats go on until the block is left."""
    body = {**SLOW, "bot_id": bot}
    wait_until(lambda: serving(service, 2), 60)
    with contextlib.ExitStack() as chats:

        def chat() -> bool:
            """Begins a chat on a connection of its own; whether each worker has one by now."""
            client = chats.enter_context(httpx.Client(base_url=service.url, timeout=60))
            chats.enter_context(client.stream("POST", "/api/v1/chat", json=body))
            return all(is_asked(worker, service) for worker in workers(service))

        wait_until(chat, 60)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(line["event"] == "stopping" for line in service.lines()), 60)
        yield


def test_a_stop_does_not_wait_for_a_restart(start: Start, bots: dict[str, str]) -> None:
    service = start(WORKERS="2", SHUTDOWN_GRACE="600")
    with held_restart(service, bots["for-ever"]):
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: any(line["event"] == "stopping" and "workers" in line for line in service.lines()))
    assert service.process.wait(60) == 0


def test_a_restart_during_a_restart_is_one_more(start: Start, bots: dict[str, str]) -> None:
    service = start(WORKERS="2", SHUTDOWN_GRACE="600")
    with held_restart(service, bots["for-ever"]):
        service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: [line["event"] for line in service.lines()].count("restarting a worker") == 4, 60)
    assert service.stop() == 0


def test_a_stop_does_not_wait_for_a_worker_that_comes(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}
    before = workers(service)
    service.process.send_signal(signal.SIGHUP)

    def new() -> list[psutil.Process]:
        # One that is suspended before it runs its command would hold up the parent, which waits for that.
        return [one for one in workers(service) if one not in before and "--worker" in one.cmdline()]

    wait_until(new)
    # Meanwhile that one may serve, and another come.
    *_, comes = new()
    comes.suspend()
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: any(line["event"] == "stopping" and "workers" in line for line in service.lines()))
    comes.resume()
    assert service.process.wait(60) == 0


def test_who_dies_during_a_restart_is_replaced_at_once(start: Start, bots: dict[str, str]) -> None:
    service = start(WORKERS="2", SHUTDOWN_GRACE="600")
    with held_restart(service, bots["for-ever"]):
        leaving = next(line["pid"] for line in service.lines() if line["event"] == "restarting a worker")
        for worker in workers(service):
            if worker.pid != leaving:
                worker.kill()
        # While the one that leaves still has its chats.
        assert ask(service, 5) == {200}
        assert leaving in [worker.pid for worker in workers(service)]
    assert service.stop() == 0


@contextlib.contextmanager
def impatient(folder: Path, upstream: Upstream, **bounds: float) -> Iterator[Service]:
    """A service with two workers and other bounds."""
    env = {"COZE_API_TOKEN": "pat_test", "COZE_API_BASE": upstream.url, "COZE_BOT_ID": BOT, "SHUTDOWN_GRACE": "0"}
    with running_service(folder, *changed(**bounds), WORKERS="2", **env) as service:
        yield service


def test_a_worker_that_hangs_is_replaced(upstream: Upstream, tmp_path: Path) -> None:
    with impatient(tmp_path, upstream, worker_hang_seconds=3, worker_stop_seconds=600) as service:
        assert ask(service) == {200}
        wait_until(lambda: serving(service, 2))
        before = workers(service)
        # Where all slept, as on a machine that was suspended, nobody has hung.
        for process in (psutil.Process(service.process.pid), *before):
            process.suspend()
        time.sleep(4)
        # The parent last: for it, workers that go on sleeping have hung.
        for process in (*before, psutil.Process(service.process.pid)):
            process.resume()
        time.sleep(1)
        assert not [line for line in service.lines() if line["event"] == "worker hangs"]
        hanging = before[0]
        hanging.suspend()
        wait_until(lambda: not hanging.is_running() and len(workers(service)) == 2, 60)
        assert hanging.pid in [line["pid"] for line in service.lines() if line["event"] == "worker hangs"]
        assert ask(service) == {200}
        # Nor does a stop wait for one.
        wait_until(lambda: serving(service, 2))
        hanging = workers(service)[0]
        hanging.suspend()
        assert service.stop() == 1
        assert [line["pid"] for line in service.lines() if line["event"] == "worker killed"] == [hanging.pid]


def test_a_worker_that_does_not_go_is_killed(upstream: Upstream, tmp_path: Path) -> None:
    with impatient(tmp_path, upstream, worker_stop_seconds=1, worker_hang_seconds=600) as service:
        assert ask(service) == {200}
        wait_until(lambda: serving(service, 2))
        hanging = workers(service)[0]
        hanging.suspend()
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not hanging.is_running() and len(workers(service)) == 2, 60)
        killed = [line["pid"] for line in service.lines() if line["event"] == "worker killed"]
        assert hanging.pid in killed
        assert ask(service) == {200}


def test_a_restart_that_would_fail_keeps_the_old_workers(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}
    # One that only starts would read the bad setting too.
    wait_until(lambda: serving(service, 2))
    before = {process.pid for process in workers(service)}
    dotenv = Path(str(psutil.Process(service.process.pid).cwd())) / ".env"
    dotenv.write_text("LOG_LEVEL=NOPE\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("does not serve" in line["event"] for line in service.lines()), 60)
    wait_until(lambda: {process.pid for process in workers(service)} == before)
    assert ask(service) == {200}
    dotenv.unlink()
    assert service.stop() == 0


def test_a_worker_that_cannot_be_replaced_ends_no_other(upstream: Upstream, tmp_path: Path) -> None:
    """As where a file that a setting names has gone, which nobody notices until a worker starts."""
    with impatient(tmp_path, upstream, worker_retry_seconds=0.5) as service:
        assert ask(service) == {200}
        wait_until(lambda: serving(service, 2))
        dies, serves = workers(service)
        dotenv = tmp_path / ".env"
        dotenv.write_text("LOG_LEVEL=NOPE\n")
        dies.kill()
        tries = "a worker cannot run: the others go on"
        wait_until(lambda: [line["event"] for line in service.lines()].count(tries) >= 2, 60)
        assert ask(service, 5) == {200}
        assert serves in workers(service)
        dotenv.unlink()
        wait_until(lambda: serving(service, 2), 60)
        assert serves in workers(service)
        assert service.stop() == 0


def test_nothing_outlives_the_parent(start: Start) -> None:
    """Neither its workers nor, where figures are kept in memory, what takes that up."""
    with metrics_folder.held() as others:
        left = Path(tempfile.mkdtemp(dir=Path(others).parent, prefix="coze-service-metrics-"))
        (left / "counter_1.db").touch()
        service = start(WORKERS="2")
        assert Path(others).exists(), "another service's that runs"
        assert not left.exists(), "what a service left that was killed with all its workers"
    assert not Path(others).exists()
    assert ask(service) == {200}
    wait_until(lambda: serving(service, 2))
    children = workers(service)
    folder = Path(children[0].environ()["PROMETHEUS_MULTIPROC_DIR"])
    assert list(folder.iterdir())
    service.process.kill()
    service.process.wait()
    psutil.wait_procs(children, timeout=60)
    assert not [process for process in children if process.is_running()]
    assert not folder.exists()


def test_workers_that_cannot_run_end_the_service(start: Start) -> None:
    service = start(WORKERS="2")
    assert ask(service) == {200}

    def ended() -> bool:
        if service.process.poll() is not None:
            return True
        for process in workers(service):
            # One that was killed before may only just have gone.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return False

    wait_until(ended, 60)
    assert service.process.returncode == 1


def test_the_sandbox_serves_all_workers(start: Start) -> None:
    service = start("--sandbox", WORKERS="2", SANDBOX_DELTA_SECONDS="0")
    first = service.chat("My name is Ada").json()
    for turn in range(6):
        body = {
            "user_id": "u",
            "conversation_id": first["conversation_id"],
            "messages": [{"role": "user", "content": "What did I ask before?"}],
        }
        # On a connection of its own, which any worker may take.
        answer = http.post(f"{service.url}/api/v1/chat", json=body).json()
        assert f"the conversation holds {2 + 2 * turn} messages" in answer["data"]["content"]
    assert service.http.get("/api/v1/config").json()["data"]["environment"] == "sandbox"
    assert service.stop() == 0


def test_it_says_that_each_worker_counts_for_itself(start: Start) -> None:
    service = start(WORKERS="2", ENABLE_RATE_LIMIT="true")
    assert any("each worker counts for itself" in line["event"] for line in service.lines())
