"""The log: one JSON object a line on standard output, the service's own lines and the server's alike.

Never in it: tokens, bodies, texts of messages, query strings.
"""

import logging
import sys
from typing import Any

import msgspec
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _to_json(_logger: Any, _method: str, event: structlog.typing.EventDict) -> bytes:
    return _encode(event)


def _render_for_logging(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
    return _encode({name: value for name, value in event.items() if not name.startswith("_")}).decode()


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
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name], processors=[_render_for_logging]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries say at DEBUG what they send and receive; that is nobody's to read here.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
