"""/metrics: every figure is what happened, of all workers together; the dashboard asks for none that is not there."""

import contextlib
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser as promql
import psutil
import pytest
from conftest import ROOT, Service, Start, Upstream, events_of, http, wait_until
from prometheus_client.parser import text_string_to_metric_families
from test_stopping import SLOW
from test_workers import serving, workers

PREFIX = "coze_service_"
CANARY = "a-very-private-sentence"


class Figures:
    """One scrape."""

    def __init__(self, url: str) -> None:
        answer = http.get(url, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        self.text = answer.text
        families = text_string_to_metric_families(answer.text)
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of what has this name and these labels."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        ]
        return sum(found)

    def labels(self) -> dict[str, set[str]]:
        """The names of all series, each with its labels' names."""
        found: dict[str, set[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        return found


def figures(service: Service) -> Figures:
    return Figures(f"{service.url}/metrics")


@pytest.fixture(scope="module")
def full(start: Start) -> Service:
    """A service with two workers that takes few chats, and has a canary of a token."""
    return start(WORKERS="2", MAX_CONCURRENT_CHATS="1", COZE_API_TOKEN="pat_CANARY")


@pytest.fixture
def risen(service: Service) -> Callable[..., None]:
    """Holds that a figure rises by just so much from here on; it is written after the answer has gone."""
    before = figures(service)

    def check(by: float, name: str, **labels: str) -> None:
        wait_until(lambda: figures(service)(name, **labels) - before(name, **labels) >= by)
        assert figures(service)(name, **labels) - before(name, **labels) == by

    return check


@pytest.mark.parametrize("mode", ["stream", "json"])
def test_a_chat(service: Service, risen: Callable[..., None], mode: str) -> None:
    answer = service.chat(stream=mode == "stream")
    assert answer.status_code == 200
    usage = events_of(answer.text)[-2]["usage"] if mode == "stream" else answer.json()["data"]["usage"]
    if mode == "stream":
        risen(answer.text.count('"message_delta"'), "deltas_total")
    risen(1, "chats_total", mode=mode, outcome="completed")
    risen(1, "chats_total")
    risen(1, "requests_total", method="POST", route="/api/v1/chat", status="200")
    risen(1, "request_duration_seconds_count", route="/api/v1/chat")
    risen(1, "time_to_first_delta_seconds_count", mode=mode)
    risen(usage["token_count"], "tokens_total")
    risen(usage["input_count"], "input_tokens_total")
    risen(usage["output_count"], "output_tokens_total")
    risen(0, "coze_errors_total")


def test_both_ways_to_answer_count_the_same(service: Service, bots: dict[str, str]) -> None:
    counted = []
    for stream in (True, False):
        before = figures(service)("deltas_total")
        service.chat(bot=bots["reasoning"], stream=stream)
        wait_until(lambda: figures(service)("deltas_total") > before)  # noqa: B023
        counted.append(figures(service)("deltas_total") - before)
    assert counted[0] == counted[1] > 1


@pytest.mark.parametrize(
    ("bot", "kind", "code"),
    [("failed-midway-4028", "error", "4028"), ("eof-midway", "broke_off", "none"), ("502-html", "error", "none")],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_coze_does_wrong(
    service: Service, bots: dict[str, str], risen: Callable[..., None], bot: str, kind: str, code: str, stream: bool
) -> None:
    service.chat(bot=bots[bot], stream=stream)
    risen(1, "chats_total", outcome="failed", mode="stream" if stream else "json")
    risen(1, "coze_errors_total", kind=kind, code=code)
    risen(1, "coze_errors_total")


@pytest.mark.parametrize("bot", ["failed-midway-4028", "code-4016"])
def test_what_coze_does_wrong_to_an_answer_counts_once(
    service: Service, bots: dict[str, str], risen: Callable[..., None], bot: str
) -> None:
    """However many ask for the answer: Coze has failed once."""
    question = {"user_id": "u", "messages": [{"role": "user", "content": "x"}], "bot_id": bots[bot]}
    headers = {"Idempotency-Key": f"counted-{bot}"}
    statuses = {service.http.post("/api/v1/chat", json=question, headers=headers).status_code for _ in range(3)}
    assert len(statuses) == 1
    risen(3, "requests_total", route="/api/v1/chat", status=str(*statuses))
    risen(1, "chats_total", outcome="failed", mode="json")
    risen(1, "coze_errors_total")


def test_what_a_client_does_wrong_is_no_chat(service: Service, risen: Callable[..., None]) -> None:
    service.http.post("/api/v1/chat", json={})
    risen(1, "requests_total", status="400", route="/api/v1/chat")
    risen(0, "chats_total")
    risen(0, "coze_errors_total")


def test_a_chat_that_is_left(service: Service, bots: dict[str, str], risen: Callable[..., None]) -> None:
    with service.http.stream(
        "POST", "/api/v1/chat", json={**SLOW, "bot_id": bots["stall-after-start"], "stream": True}
    ):
        risen(1, "open_streams")
        risen(1, "running_chats")
    risen(1, "chats_total", outcome="left", mode="stream")
    risen(1, "cancelled_chats_total", result="ok")
    risen(0, "open_streams")
    wait_until(lambda: figures(service)("running_chats") == 0)


def test_the_labels_are_few(service: Service, risen: Callable[..., None]) -> None:
    """Whatever a client makes up, it makes no series."""
    for number in range(20):
        service.http.get(f"/{CANARY}/{number}?{CANARY}")
        service.http.get(f"/docs/assets/{CANARY}{number}")
        service.http.request("PROPFIND", f"/{number}")
    risen(20, "requests_total", route="none", method="GET", status="404")
    assert CANARY not in figures(service).text
    assert len(figures(service).samples) < 1000


def test_all_workers_count_together(full: Service, upstream: Upstream, bots: dict[str, str]) -> None:
    """Any of them answers for all; one that is killed takes with it what it had open, not what it has counted."""
    wait_until(lambda: serving(full, 2), 60)
    for number in range(20):
        http.get(f"{full.url}/api/v1/config")
        assert figures(full)("requests_total", route="/api/v1/config") <= number + 1
    wait_until(lambda: figures(full)("requests_total", route="/api/v1/config") == 20)
    asked = {**SLOW, "bot_id": bots["stall-after-start"], "stream": True}
    with contextlib.ExitStack() as chats:
        statuses: list[int] = []
        # Which worker takes a connection is left to chance.
        while statuses.count(200) < 2 and len(statuses) < 200:
            client = chats.enter_context(httpx.Client(timeout=30))
            answer = chats.enter_context(client.stream("POST", f"{full.url}/api/v1/chat", json=asked))
            statuses.append(answer.status_code)
        assert set(statuses) <= {200, 503}
        wait_until(lambda: figures(full)("open_streams") == 2)
        assert figures(full)("running_chats") == 2
        wait_until(lambda: figures(full)("chats_total", outcome="refused") == statuses.count(503))
        children = psutil.Process(full.process.pid).children()
        files = {Path(file.path) for worker in children for file in worker.open_files() if file.path.endswith(".db")}
        (folder,) = {file.parent for file in files}
        # Where uploads on their way cannot fill it up.
        assert folder.parent == Path("/dev/shm")
        # As a worker leaves it that is killed while it makes it.
        (folder / "counter_9.db").touch()
        children[0].kill()
        wait_until(lambda: figures(full)("running_chats") == figures(full)("open_streams") == 1)
        assert figures(full)("requests_total", route="/api/v1/config") == 20
        assert "pat_CANARY" not in figures(full).text
    assert full.stop() == 0
    assert not folder.exists()


def test_workers_that_have_ended_leave_figures_and_no_more_files(start: Start) -> None:
    """Memory would fill up with them, and a worker that finds none left dies; each scrape would read them all."""
    service = start(WORKERS="2")
    wait_until(lambda: serving(service, 2))
    folder = Path(workers(service)[0].environ()["PROMETHEUS_MULTIPROC_DIR"])

    def counted() -> tuple[float, float]:
        now, of = figures(service), "/api/v1/config"
        return now("requests_total", route=of), now("request_duration_seconds_count", route=of)

    def reach(number: int) -> None:
        # Counted only once the answer has gone.
        wait_until(lambda: counted() == (number, number))

    def lose(lost: set[int], end: Callable[[], None]) -> None:
        end()
        wait_until(lambda: serving(service, 2) and not lost & {worker.pid for worker in workers(service)}, 60)

    for turn in range(1, 4):
        assert [http.get(f"{service.url}/api/v1/config").status_code for _ in range(10)] == [200] * 10
        reach(10 * turn)
        victim = workers(service)[0]
        lose({victim.pid}, victim.kill)
        lose({worker.pid for worker in workers(service)}, lambda: service.process.send_signal(signal.SIGHUP))
        assert counted() == (10 * turn, 10 * turn)
    # A restart has a third worker for a while.
    assert len(list(folder.glob("counter_*"))) <= 3
    assert len(list(folder.iterdir())) <= 9
    assert service.stop() == 0


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_port_of_its_own(start: Start, count: str) -> None:
    service = start(METRICS_PORT="0", WORKERS=count)
    assert service.http.get("/metrics").status_code == 404
    (line,) = [line for line in service.lines() if line["event"] == "serving metrics"]
    assert service.http.get("/").status_code == 200
    wait_until(lambda: Figures(line["url"])("requests_total", route="/") == 1)
    assert service.stop() == 0


def test_off(start: Start) -> None:
    service = start(METRICS="false")
    assert service.http.get("/metrics").status_code == 404


def queries() -> Iterator[str]:
    """Every PromQL expression of the dashboard, with Grafana's variables filled in."""
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            yield target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield re.fullmatch(r"label_values\((.+), job\)", variable["query"]["query"])[1]  # type: ignore[index]


def asked_for(query: str) -> set[tuple[str, str]]:
    """The pairs of a series' name and a label that a query selects or groups it by; "" for the name alone."""
    # What is not in a scrape: the label that Prometheus itself adds.
    found: set[tuple[str, str]] = set()

    def visit(node: Any, grouped: frozenset[str]) -> None:
        match node:
            case promql.VectorSelector():
                labels = {matcher.name for matcher in node.matchers.matchers} | grouped | {""}
                found.update((str(node.name), label) for label in labels - {"job"})
            case promql.MatrixSelector():
                visit(node.vector_selector, grouped)
            case promql.AggregateExpr():
                visit(node.expr, frozenset(node.modifier.labels if node.modifier else ()))
            case promql.BinaryExpr():
                visit(node.lhs, grouped)
                visit(node.rhs, grouped)
            case promql.Call():
                for argument in node.args:
                    visit(argument, grouped)
            case promql.ParenExpr():
                visit(node.expr, grouped)
            case promql.NumberLiteral():
                pass
            case _:
                raise AssertionError(f"{node} is not looked at")

    visit(promql.parse(query), frozenset())
    return found


def test_the_dashboard_asks_for_what_there_is(service: Service, bots: dict[str, str]) -> None:
    service.chat(bot=bots["failed-midway-4028"])
    wait_until(lambda: figures(service)("coze_errors_total"))
    scrape = figures(service)
    there = {(name, label) for name, labels in scrape.labels().items() for label in {"", *labels}}
    asked = set().union(*map(asked_for, queries()))
    assert asked - there == set()
    # And it shows all that there is.
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in asked}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in there} == shown
