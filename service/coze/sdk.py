"""Coze's SDK, imported as it has to be: without a warning that is not ours to mend, and with its log silent."""

import logging
import warnings

with warnings.catch_warnings():
    # The SDK imports a part of Authlib that is deprecated, and Authlib insists on its warning.
    import authlib.deprecate  # noqa: F401

    warnings.simplefilter("ignore")
    from authlib.jose import RSAKey
    from cozepy import AsyncAuth, AsyncJWTOAuthApp
    from cozepy.model import HTTPRequest
    from cozepy.request import Requester

# The SDK writes whole conversations to standard error at DEBUG, and installs its own handler on import.
logging.getLogger("cozepy").handlers.clear()
logging.getLogger("cozepy").addHandler(logging.NullHandler())

__all__ = ["AsyncAuth", "AsyncJWTOAuthApp", "HTTPRequest", "RSAKey", "Requester"]
