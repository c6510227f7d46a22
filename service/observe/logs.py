"""The log on standard output, of the service and its libraries alike; docs/logs.md is its manual.

Each line is a JSON object, or text for a person at a terminal. Tokens, bodies, texts of messages and query strings
never appear in it.
"""

import contextlib
import io
import logging
import sys
from typing import Any, BinaryIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from service.observe.record import current_record
from service.settings import Settings

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _add_request(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Adds the ids of the request that a line belongs to: the service's own, the tracer's and Coze's."""
    record = current_record()
    if record is not None:
        event["request_id"] = record.request_id
        if record.trace_id is not None:
            event["trace_id"] = record.trace_id
        if "logid" not in event and record.logid is not None:
            event["logid"] = record.logid
    return event


def _to_json(_logger: object, _method: str, event: EventDict) -> bytes:
    return _encode(event)


class _Console:
    """Renders lines for a person. Escapes values, so that they cannot control the terminal."""

    def __init__(self, *, colors: bool) -> None:
        # The default formatter shows the values of variables if `rich` is installed.
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=20
        )

    def __call__(self, logger: object, method: str, event: EventDict) -> bytes:
        shown = {
            name: value if name == "exception" or not isinstance(value, str) or value.isprintable() else repr(value)
            for name, value in event.items()
            if value is not None
        }
        return self._render(logger, method, shown).encode()


class _Output(io.RawIOBase):
    """Unbuffered output that drops a line it cannot write, as on a full disk or a closed pipe.

    A failing log must end neither a chat nor a stop.
    """

    def __init__(self, stream: io.RawIOBase) -> None:
        # A buffer would keep the line that it cannot write, and fail again with the next.
        self._stream = stream
        self._cut = False

    def writable(self) -> bool:
        return True

    def write(self, line: Any) -> int:
        # A line that was cut off must not swallow the next one.
        rest = memoryview(b"\n" + line if self._cut else line)
        size = len(rest)
        with contextlib.suppress(OSError):
            while rest and (written := self._stream.write(rest)):
                rest = rest[written:]
        if len(rest) < size:
            self._cut = len(rest) > 0
        return len(line)


def configure(settings: Settings) -> None:
    """Sets up structlog, and standard logging for the libraries."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    terminal = sys.stdout.isatty()
    render: Processor = _to_json
    if settings.log_format == "console" or (settings.log_format == "auto" and terminal):
        render = _Console(colors=terminal and not settings.no_color)
    shared: list[Processor] = [
        _add_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    output = _Output(io.FileIO(sys.stdout.fileno(), "wb", closefd=False))
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", output)),
        cache_logger_on_first_use=True,
    )

    def render_for_logging(logger: object, method: str, event: EventDict) -> str:
        text = render(logger, method, {name: value for name, value in event.items() if not name.startswith("_")})
        return cast("bytes", text).decode()

    handler = logging.StreamHandler(io.TextIOWrapper(cast("BinaryIO", output), encoding="utf-8", write_through=True))
    logging.raiseExceptions = False
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name], processors=[render_for_logging]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # At DEBUG, libraries log what they send and receive, which may be secret.
    root.setLevel(max(logging.WARNING, level))
