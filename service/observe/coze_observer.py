"""The observer of the Coze side: turns its reports into the logid of a request, log lines, metrics and spans."""

from typing import TYPE_CHECKING

import structlog

from service.coze.http import Answer, Route
from service.errors import ServiceError
from service.observe import metrics
from service.observe.record import RequestRecord, current_record

if TYPE_CHECKING:
    from service.observe.tracing import CallSpan, Tracing

log = structlog.get_logger()


def announce(route: Route) -> None:
    """Logs the parts of the route to Coze that come from the environment: a proxy, certifi's certificates."""
    if route.proxy is not None:
        log.info("a proxy leads to Coze", proxy=str(route.proxy.address))
    if route.certifi:
        log.warning("this machine has no certificates, those of certifi are trusted")


class CozeObserver:
    """Implements `service.coze.observer.Observer` for one process."""

    def __init__(self, tracing: "Tracing | None" = None) -> None:
        self._tracing = tracing

    def begin_call(self, method: str, url: str, headers: dict[str, str]) -> "ObservedCall":
        span = self._tracing.begin_call(method, url, headers) if self._tracing is not None else None
        return ObservedCall(current_record(), span)

    def running_chats(self, number: int) -> None:
        metrics.RUNNING_CHATS.set(number)

    def cancelled(self, answer: Answer, code: int | None) -> None:
        log.info("chat cancelled", status=answer.status, code=code, cancel_logid=answer.logid)
        metrics.CANCELLED_CHATS.labels("ok" if answer.status == 200 and code == 0 else "failed").inc()

    def not_cancelled(self, error: ServiceError) -> None:
        log.warning("chat not cancelled", cause=error.cause)
        metrics.CANCELLED_CHATS.labels("failed").inc()

    def bot_not_described(self, bot_id: str, error: ServiceError) -> None:
        log.warning("bot not described", bot_id=bot_id, cause=error.cause, code=error.code, logid=error.logid)

    def token_fetched(self, lifetime_seconds: float) -> None:
        log.info("token fetched", lifetime_seconds=round(lifetime_seconds))

    def token_not_fetched(self, error: ServiceError) -> None:
        log.warning("token not fetched", cause=error.cause, code=error.code, logid=error.logid)

    def token_end_not_believed(self, assumed_seconds: int) -> None:
        log.warning("a token's end is not believed", assumed_seconds=assumed_seconds)

    def token_file_read(self) -> None:
        log.info("token file read again")

    def token_file_unusable(self, reason: str) -> None:
        log.warning("token file cannot be used, the last token stays", reason=reason)


class ObservedCall:
    """A call to Coze. `record` is that of the request it is made for, if any; `span` is set if it is traced."""

    def __init__(self, record: RequestRecord | None, span: "CallSpan | None") -> None:
        self._record = record
        self._span = span

    def answered(self, answer: Answer) -> None:
        if self._record is not None and not self._record.over and answer.logid is not None:
            self._record.logid = answer.logid
        if self._span is not None:
            self._span.answered(answer)

    def unanswered(self, cause: str) -> None:
        if self._span is not None:
            self._span.unanswered(cause)
