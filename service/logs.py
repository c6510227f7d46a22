"""The log: one JSON object a line on standard output, the service's own lines and the server's alike.

Never in it: tokens, bodies, texts of messages, query strings.
"""

import contextlib
import io
import logging
import os
import sys
from typing import Any, BinaryIO, cast

import msgspec
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _to_json(_logger: Any, _method: str, event: structlog.typing.EventDict) -> bytes:
    return _encode(event)


def _render_for_logging(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
    return _encode({name: value for name, value in event.items() if not name.startswith("_")}).decode()


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


def configure(level: str) -> None:
    """Sets up structlog, and for the libraries standard logging. `level` is one of the latter's names."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _to_json],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Output(sys.stdout.buffer))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    logging.raiseExceptions = False
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name], processors=[_render_for_logging]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries say at DEBUG what they send and receive; that is nobody's to read here.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
