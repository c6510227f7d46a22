"""The metrics for Prometheus.

Every label has few values: none comes from a client, and of Coze's codes only those that `service.coze.errors` knows.
Several workers write into files in one folder (prometheus_client's multiprocess mode), so that any of them can sum up
all.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import UNSET, UnsetType
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
    values,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.contract import METHODS
from service.coze.errors import coze_error
from service.observe.record import Outcome, RequestRecord
from service.settings import worker_place

# The `_created` series would double the number of series for no use.
disable_created_metrics()

# A worker counts on in the files of the one before in its place. prometheus_client names them by process ids: then each
# restart would leave some behind, until they fill up the memory in which they are.
if (_place := worker_place()) is not None:
    values.ValueClass = values.MultiProcessValue(lambda: _place)

# In seconds, from a cached answer to the default of COZE_CHAT_TIMEOUT.
_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600)
# A larger number of tokens is no real one, and a Prometheus sample could not hold it exactly.
_MAX_TOKENS = 2**53

_OWN = CollectorRegistry()
_NAME: dict[str, Any] = {"namespace": "coze_service", "registry": _OWN}

_REQUESTS = Counter(
    "requests", "Requests answered; a status of `none` is no answer.", ["method", "route", "status"], **_NAME
)
_REQUEST_SECONDS = Histogram(
    "request_duration_seconds", "Time to the end of the answer.", ["route"], buckets=_BUCKETS, **_NAME
)
_CALLS = Counter("calls", "Calls of the API by what their callers have proven.", ["caller"], **_NAME)
_CHATS = Counter(
    "chats",
    "Chats by how they ended: completed; failed; left by the client; unread, as the client took no more; "
    "refused, as the service was full or stopping.",
    ["mode", "outcome"],
    **_NAME,
)
_FIRST_DELTA_SECONDS = Histogram(
    "time_to_first_delta_seconds",
    "From a chat's request to its first piece of answer or reasoning.",
    ["mode"],
    buckets=_BUCKETS,
    **_NAME,
)
_DELTAS = Counter("deltas", "Pieces of answers and reasoning.", **_NAME)
_TOKENS = Counter("tokens", "Tokens of chats, as Coze reports them.", **_NAME)
_INPUT_TOKENS = Counter("input_tokens", "Of those, what Coze calls input.", **_NAME)
_OUTPUT_TOKENS = Counter("output_tokens", "Of those, what Coze calls output.", **_NAME)
_COZE_ERRORS = Counter(
    "coze_errors",
    "Requests that failed by Coze. The kind is `error` where Coze says so, else what was seen of it; the code is "
    "Coze's where the service knows it, else `other`, or `none` where it gave none.",
    ["kind", "code"],
    **_NAME,
)
CANCELLED_CHATS = Counter(
    "cancelled_chats", "Chats that were cancelled at Coze, and those where that failed.", ["result"], **_NAME
)
STORE_FAILURES = Counter("store_failures", "Calls to a store that failed, by its name.", ["store"], **_NAME)
OPEN_STREAMS = Gauge("open_streams", "Streams being written to clients.", multiprocess_mode="livesum", **_NAME)
RUNNING_CHATS = Gauge(
    "running_chats",
    "Chats that Coze still has something to do for; MAX_CONCURRENT_CHATS bounds them in each process.",
    multiprocess_mode="livesum",
    **_NAME,
)

# Start every series at 0: one that begins with its first event hides it from `rate`.
for _mode in ("json", "stream"):
    for _outcome in Outcome:
        if _mode == "stream" or _outcome is not Outcome.UNREAD:
            _CHATS.labels(_mode, _outcome)
    _FIRST_DELTA_SECONDS.labels(_mode)
for _result in ("ok", "failed"):
    CANCELLED_CHATS.labels(_result)


def observe(record: RequestRecord, method: str | None, route: str | None, seconds: float) -> None:
    """Counts a request that is over. `route` is its template in the contract, None without one."""
    method, route = method if method in METHODS else "other", route or "none"
    _REQUESTS.labels(method, route, record.status or "none").inc()
    _REQUEST_SECONDS.labels(route).observe(seconds)
    if record.caller_kind is not None:
        _CALLS.labels(record.caller_kind).inc()
    observe_chat(record)


def observe_chat(record: RequestRecord) -> None:
    """Counts Coze's error and the chat in the record of a request, or of a kept answer."""
    if record.failure is not None and (error := coze_error(record.failure, record.code)):
        _COZE_ERRORS.labels(*error).inc()
    if record.mode is None:
        return
    if record.outcome is not None:
        _CHATS.labels(record.mode, record.outcome).inc()
    if record.first_delta_seconds is not None:
        _FIRST_DELTA_SECONDS.labels(record.mode).observe(record.first_delta_seconds)
        _DELTAS.inc(record.deltas)
    if record.usage is not None:
        for counter, tokens in (
            (_TOKENS, record.usage.token_count),
            (_INPUT_TOKENS, record.usage.input_count),
            (_OUTPUT_TOKENS, record.usage.output_count),
        ):
            _add_tokens(counter, tokens)


def _add_tokens(counter: Counter, tokens: int | UnsetType) -> None:
    if tokens is not UNSET and 0 < tokens < _MAX_TOKENS:
        counter.inc(tokens)


def registry(*, shared: bool) -> CollectorRegistry:
    """Returns the figures of this process or, if `shared`, the sums over all workers."""
    return _shared() if shared else _OWN


def serve(host: str, port: int, folder: str | None) -> int:
    """Serves the metrics on a port of their own, in a thread, until the process ends. Returns the port.

    `folder` is where the workers write; None if this process serves chats itself. Raises OSError.
    """
    server, _ = start_http_server(port, host, _OWN if folder is None else _shared(folder))
    bound: int = server.server_port
    return bound


def forget_worker(place: int, folder: str) -> None:
    """Removes the gauges of a worker that has ended from the sums; its counters stay, for the next in its place."""
    mark_process_dead(place, folder)


def _shared(folder: str | None = None) -> CollectorRegistry:
    """Returns the sums over all workers. In a worker prometheus_client finds the folder by itself."""
    registry = CollectorRegistry()
    _AllWorkers(registry, folder)  # type: ignore[no-untyped-call] # the constructor is prometheus_client's
    return registry


class _AllWorkers(MultiProcessCollector):
    """Skips empty files, on which prometheus_client fails: a worker is creating one, or was killed while it did."""

    def collect(self) -> Iterable[Metric]:
        files = [str(path) for path in Path(self._path).glob("*.db") if _has_content(path)]
        sums: Iterable[Metric] = MultiProcessCollector.merge(files)
        return sums


def _has_content(path: Path) -> bool:
    # A file may go together with its worker.
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size > 0
    return False
