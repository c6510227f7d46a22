"""One limit for several processes and machines, counted in a real Valkey server: exactly so many of a burst pass."""

import contextlib
import os
import re
import signal
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest
from conftest import Service, Start, ValkeyServer, changed, wait_until

CONFIG = "/api/v1/config"
LOST = "the store of the rate limit does not answer, each process counts for itself"
PER_WORKER = "each worker counts for itself, and a client may call up to WORKERS times as often"
BACK = "the store of the rate limit answers again"


@pytest.fixture
def store() -> Iterator[ValkeyServer]:
    """One of the test's own."""
    with ValkeyServer() as running:
        yield running


def count(store: ValkeyServer) -> int:
    """How many calls it has counted."""
    lengths: list[Any] = [store.client.llen(key) for key in store.client.scan_iter("*127.0.0.1*")]
    return sum(lengths)


@contextlib.contextmanager
def long_way(store: ValkeyServer, seconds: float) -> Iterator[int]:
    """The port of a relay to the store which keeps each question for so long."""

    def carry(source: socket.socket, target: socket.socket, seconds: float) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                time.sleep(seconds)
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", store.port)) as there:
                back = threading.Thread(target=carry, args=(there, self.request, 0))
                back.start()
                carry(self.request, there, seconds)
                back.join()

    class Relay(socketserver.ThreadingTCPServer):
        # All connections of a service may come at once, and stay until it ends.
        request_queue_size = 64
        daemon_threads = True

    with Relay(("127.0.0.1", 0), Connection) as relay:
        threading.Thread(target=relay.serve_forever).start()
        try:
            yield relay.server_address[1]
        finally:
            relay.shutdown()


def limited(
    start: Start, store: ValkeyServer, requests: int, *arguments: str, scheme: str = "valkey", **env: str
) -> Service:
    limit = {
        "ENABLE_RATE_LIMIT": "true",
        "RATE_LIMIT_REQUESTS": str(requests),
        "RATE_LIMIT_WINDOW": "3600",
        "RATE_LIMIT_STORAGE": store.uri(scheme),
    }
    return start(*arguments, **limit | env)


def said(service: Service, event: str) -> int:
    return sum(line.get("event") == event for line in service.lines())


def failures(service: Service) -> float:
    """How often the store has not answered, by the metrics."""
    return float(re.findall(r'store_failures_total\{store="rate_limit"\} (\S+)', service.http.get("/metrics").text)[0])


def calls(service: Service, times: int) -> list[int]:
    return [service.http.get(CONFIG).status_code for _ in range(times)]


def one_call(service: Service) -> int:
    """On a connection of its own, so that all processes get some."""
    with contextlib.closing(HTTPConnection(*service.address, timeout=60)) as connection:
        connection.request("GET", CONFIG)
        return connection.getresponse().status


def test_exactly_so_many_of_a_burst_on_several_machines_pass(start: Start, store: ValkeyServer) -> None:
    """Two services of two processes each: `redis://` and `valkey://` are the same store."""
    # A process that stands still for a second must not count for itself afterwards.
    patient = changed(count_seconds=60)
    machines = [limited(start, store, 50, *patient, scheme=scheme, WORKERS="2") for scheme in ("redis", "valkey")]
    # Each process has tried the store when it serves; one more is this test's.
    wait_until(lambda: store.connections() == 5)

    with ThreadPoolExecutor(64) as pool:
        statuses = Counter(pool.map(one_call, machines * 200))
    assert statuses == {200: 50, 429: 350}
    for machine in machines:
        assert said(machine, LOST) == 0
        assert said(machine, PER_WORKER) == 0


def test_a_store_that_dies_and_comes_back(start: Start, store: ValkeyServer) -> None:
    service = limited(start, store, 5)
    assert calls(service, 6) == [200] * 5 + [429]
    assert failures(service) == 0
    store.kill()
    # The process counts for itself from here: nobody is refused for the store, nobody goes without a limit.
    assert calls(service, 7) == [200] * 5 + [429] * 2
    assert service.http.get(CONFIG).headers["ratelimit"].startswith('"default";r=0;t=')
    store.start()
    wait_until(lambda: said(service, BACK) == 1)
    # It lost its memory when it died, and counts again.
    assert calls(service, 6) == [200] * 5 + [429]
    assert said(service, LOST) == 1
    assert failures(service) >= 1
    lost = next(line for line in service.lines() if line["event"] == LOST)
    assert (lost["store"], lost["cause"], lost["level"]) == (f"127.0.0.1:{store.port}", "ConnectionError", "warning")
    assert not [line for line in service.lines() if line["level"] in ("error", "critical")]
    assert service.stop() == 0
    assert ValkeyServer.PASSWORD not in service.output()
    assert "Warning" not in service.output()


def test_a_store_that_hangs(start: Start, store: ValkeyServer) -> None:
    service = limited(start, store, 60)
    assert calls(service, 3) == [200] * 3
    os.kill(store.process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(one_call, [service] * 50))
    assert set(statuses) == {200}
    assert calls(service, 11) == [200] * 10 + [429]
    # Only those that were under way when it went have waited their second for it.
    waited = [line for line in service.lines() if line["event"] == "request" and line["duration_ms"] > 1000]
    assert len(waited) <= 30
    os.kill(store.process.pid, signal.SIGCONT)
    wait_until(lambda: said(service, BACK) == 1)
    # What it answers late is for nobody: each call gets the answer to its own question again.
    left = 60 - count(store)
    assert calls(service, left + 1) == [200] * left + [429]
    assert said(service, LOST) == 1


def test_a_crowd_is_no_failure_of_the_store(start: Start, store: ValkeyServer) -> None:
    """So many calls at once that most wait for longer than the store has time, though each of its answers is quick."""
    # Two ways to the store and back make 0.2 s a call, so that the last of the crowd waits for 8 s at least.
    bounds = changed(count_connections=2, count_seconds=4)
    with long_way(store, 0.1) as port:
        service = limited(start, store, 10, *bounds, RATE_LIMIT_STORAGE=store.uri(port=port))
        with ThreadPoolExecutor(80) as pool:
            statuses = Counter(pool.map(one_call, [service] * 80))
    assert statuses == {200: 10, 429: 70}
    assert said(service, LOST) == 0


def test_a_store_that_is_not_there_at_the_start(start: Start, store: ValkeyServer) -> None:
    store.kill()
    service = limited(start, store, 2)
    assert calls(service, 3) == [200, 200, 429]
    assert said(service, LOST) == 1
    store.start()
    wait_until(lambda: said(service, BACK) == 1)
    assert calls(service, 3) == [200, 200, 429]


def test_a_wrong_password_is_a_store_that_does_not_answer(start: Start, store: ValkeyServer) -> None:
    uri = f"redis://user:wrong-secret@127.0.0.1:{store.port}/0"
    service = start(ENABLE_RATE_LIMIT="true", RATE_LIMIT_REQUESTS="2", RATE_LIMIT_STORAGE=uri, WORKERS="2")
    wait_until(lambda: said(service, LOST) == 2)
    assert service.http.get(CONFIG).status_code == 200
    assert service.stop() == 0
    assert "wrong-secret" not in service.output()


def test_only_a_count_of_its_own_is_announced_as_such(start: Start) -> None:
    service = start(ENABLE_RATE_LIMIT="true", WORKERS="2")
    assert said(service, PER_WORKER) == 1
