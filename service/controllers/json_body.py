"""JSON bodies of requests, held against the contract: their length, and the model of what is in them."""

import codecs
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request

from service.bounds import BOUNDS
from service.contract import contract
from service.errors import BAD_REQUEST, BODY_TOO_LARGE, ServiceError
from service.http.body import body_chunks
from service.http.headers import header
from service.services import Services
from service.surrogates import without_halves

T = TypeVar("T")


class JsonBody(Generic[T]):
    """Reads the body of one operation of the contract as `model`."""

    def __init__(self, method: str, path: str, model: type[T]) -> None:
        self._limit = contract().max_body_bytes(path, method)
        self._decode_strictly = msgspec.json.Decoder(model, strict=True).decode

    async def read(self, request: Request[Any, Any, Any], services: Services) -> tuple[T, bytes]:
        """Returns what the body says, and the body itself. Raises ServiceError (400, 413, 503)."""
        kind = (header(request.scope, b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise ServiceError(BAD_REQUEST, "The request's Content-Type must be application/json.")
        chunks = body_chunks(
            request,
            limit=self._limit,
            too_large=BODY_TOO_LARGE,
            message=f"Request body too large. Maximum size is {_size(self._limit)}",
            timeout=services.settings.request_body_timeout,
        )
        body = await services.body_memory.whole(chunks)
        try:
            return self._decode(body), body
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise invalid("The request's body is not valid JSON in UTF-8.") from None
        except RecursionError:
            raise invalid("The request's body is nested too deeply.") from None

    def _decode(self, body: bytes) -> T:
        """Decodes the body, without a byte order mark before it (RFC 8259, section 8.1)."""
        body = body.removeprefix(codecs.BOM_UTF8)
        try:
            return self._decode_strictly(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # A conversation with half an emoji in its history could never go on.
            return self._decode_strictly(without_halves(body.decode()))


def invalid(reason: str) -> ServiceError:
    """Returns the error (400) for a body that is not valid, which may be quoted in the reason."""
    if len(reason) > BOUNDS.error_characters:
        reason = reason[: BOUNDS.error_characters] + "…"
    return ServiceError(BAD_REQUEST, reason)


def _size(size: int) -> str:
    return f"{size // 1024**2}MB" if size >= 1024**2 else f"{size // 1024}KB"
