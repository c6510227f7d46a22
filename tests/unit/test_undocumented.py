"""What the service uses of libraries beyond their documentation, name by name: a release that drops one fails here."""

import inspect
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MultiProcessValue
from uvicorn.server import ServerState

from service.coze.sdk import AsyncJWTOAuthApp, HTTPRequest, Requester, RSAKey

PARAMETERS = {
    uvicorn.Server.startup: ["self", "sockets"],
    uvicorn.Server.shutdown: ["self", "sockets"],
    uvicorn.Server.handle_exit: ["self", "sig", "frame"],
    uvicorn.Server.capture_signals: ["self"],
    MultiProcessCollector.merge: ["files", "accumulate"],
    MultiProcessValue: ["process_identifier"],
    Requester.asend: ["self", "request"],
}


@pytest.mark.parametrize("method", PARAMETERS, ids=lambda method: method.__qualname__)
def test_a_method_takes_what_we_give(method: Any) -> None:
    assert list(inspect.signature(method).parameters) == PARAMETERS[method]


def test_what_uvicorn_gives_a_protocol() -> None:
    config = uvicorn.Config(lambda scope, receive, send: None, interface="asgi3", lifespan="off")
    config.load()
    assert config.loaded_app is not None
    assert ServerState().connections == set()
    source = inspect.getsource(uvicorn.Server.startup)
    assert "config=config" in source
    assert "server_state=self.server_state" in source
    assert "app_state=self.lifespan.state" in source


def test_which_file_is_scalar() -> None:
    script = Path(str(distribution("offapi").locate_file("offapi/scalar.js"))).read_text(encoding="utf-8")
    assert "/npm/@scalar/api-reference@1." in script[:300]


def test_what_the_sdk_signs_and_sends_with() -> None:
    key: Any = RSAKey.generate_key(2048, is_private=True)
    app: Any = AsyncJWTOAuthApp("client", key, "public", "http://127.0.0.1:9")
    assert isinstance(app._requester, Requester)  # noqa: SLF001 - the point of this test
    assert {"method", "url", "params", "headers", "json_body", "files", "as_httpx"} <= set(dir(HTTPRequest)) | set(
        HTTPRequest.model_fields
    )
