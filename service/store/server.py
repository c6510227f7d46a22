"""The connections to a Valkey or Redis server, version 6.2 or newer, and the time that it has for an answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import ValkeyError

from service.bounds import BOUNDS
from service.store.model import StoreDown

# What the names of all keys begin with.
PREFIX = "coze-service:"


def address_of(uri: str) -> str:
    """Returns the host and the port of a URI, which are all of it that may be shown."""
    parts = urlsplit(uri)
    return f"{parts.hostname}:{parts.port or 6379}"


def pool(uri: str, connections: int) -> BlockingConnectionPool:
    """Returns so many connections at most, which are made when they are needed. Time limits are the caller's."""
    # Left to itself the client would take any server's certificate for this one's.
    tls = {"ssl_check_hostname": True} if urlsplit(uri).scheme in ("rediss", "valkeys") else {}
    # With a time limit of its own the client sends by asyncio.wait_for, which before Python 3.12 forgets that the task
    # is cancelled if that happens just as the request is sent: a process that stopped then never ended.
    limits = {"socket_timeout": None, "socket_connect_timeout": BOUNDS.store_seconds}
    return BlockingConnectionPool.from_url(uri, max_connections=connections, timeout=None, **limits, **tls)


def connect(uri: str, connections: int) -> Valkey:
    """Returns a client with so many connections at most."""
    return Valkey.from_pool(pool(uri, connections))


async def close(client: Valkey) -> None:
    with contextlib.suppress(ValkeyError, OSError):
        await client.aclose()


@contextlib.asynccontextmanager
async def in_time(besides: float = 0) -> AsyncIterator[None]:
    """Raises StoreDown if the block fails, or takes longer than BOUNDS.store_seconds and the seconds `besides`."""
    try:
        async with asyncio.timeout(BOUNDS.store_seconds + besides):
            yield
    except TimeoutError:
        raise StoreDown(f"no answer within {BOUNDS.store_seconds:g} seconds") from None
    except (ValkeyError, OSError) as error:
        # Its text may hold the address with its password.
        raise StoreDown(type(error).__name__) from None
