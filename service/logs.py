"""The log: the service's own lines and its libraries' alike, on standard output; docs/logs.md is its manual.

One JSON object a line, or words for a person at a terminal. Never in it: tokens, bodies, texts of messages, query
strings.
"""

import contextlib
import io
import logging
import os
import sys
from typing import Any, BinaryIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from service.request_log import add_request
from service.settings import Settings

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _to_json(_logger: object, _method: str, event: EventDict) -> bytes:
    return _encode(event)


class _Console:
    """Lines for a person. What comes from elsewhere must not steer the terminal."""

    def __init__(self, *, colors: bool) -> None:
        # The usual way to format an exception shows the values of variables, if a certain package is installed.
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
    """Where lines go. That it has gone, as the other end of a pipe may, must not end a chat or a stop."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: Any) -> int:
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError:
            # Nor the process, which flushes it once more at its end.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return len(line)


def configure(settings: Settings) -> None:
    """Sets up structlog, and for the libraries standard logging."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    terminal = sys.stdout.isatty()
    render: Processor = _to_json
    if settings.log_format == "console" or (settings.log_format == "auto" and terminal):
        render = _Console(colors=terminal and not settings.no_color)
    shared: list[Processor] = [
        add_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    output = cast("BinaryIO", _Output(sys.stdout.buffer))
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(output),
        cache_logger_on_first_use=True,
    )

    def render_for_logging(logger: object, method: str, event: EventDict) -> str:
        text = render(logger, method, {name: value for name, value in event.items() if not name.startswith("_")})
        return cast("bytes", text).decode()

    handler = logging.StreamHandler(sys.stdout)
    logging.raiseExceptions = False
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name], processors=[render_for_logging]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries say at DEBUG what they send and receive; that is nobody's to read here.
    root.setLevel(max(logging.WARNING, level))
