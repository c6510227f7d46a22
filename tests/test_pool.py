"""The pool of connections to Coze on the loop that the service runs on, against servers of its own."""

import asyncio
import contextlib
import contextvars
import gc
import multiprocessing
import socket
import ssl
import subprocess
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service import settings
from service.bounds import BOUNDS
from service.coze import Route, route_to_coze
from service.coze.errors import TIMED_OUT, UNREACHABLE
from service.coze.http.pool import Pool
from service.errors import ServiceError


class Server:
    """Counts its connections, and answers whatever comes with what came."""

    def __init__(self) -> None:
        self.seen = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen += 1
        self.open.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        self.open.discard(writer)
        writer.close()


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.client, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
        for writer in server.open:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def pool_of(
    base: str, *, limit: int = 10, timeout: float = 10, idle: float = 60, **variables: str
) -> AsyncIterator[Pool]:
    pool = Pool(route(base, **variables), limit=limit, connect_timeout=timeout)
    BOUNDS.coze_idle_seconds, before = idle, BOUNDS.coze_idle_seconds
    try:
        yield pool
    finally:
        await pool.close()
        BOUNDS.coze_idle_seconds = before


def route(base: str, **variables: str) -> Route:
    return route_to_coze(settings.read({"COZE_API_TOKEN": "pat_1", "COZE_API_BASE": base, **variables}))


def run(main: Callable[[], Coroutine[Any, Any, None]], loop: Callable[[], Any] = uvloop.new_event_loop) -> None:
    unexpected: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
        await main()
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(watched())
    assert not unexpected


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - others change it
            await asyncio.sleep(0.005)


def test_a_connection_is_used_again_the_newest_first() -> None:
    async def main() -> None:
        async with serving() as server, pool_of(f"http://127.0.0.1:{server.port}") as pool:
            first, second = await pool.take(), await pool.take()
            assert first is not second
            first.give_back()
            second.give_back()
            assert await pool.take() is second
            assert await pool.take() is first
            assert server.seen == 2

    run(main)


def test_no_more_than_allowed_and_those_who_wait_are_served_in_turn() -> None:
    async def main() -> None:
        async with serving() as server, pool_of(f"http://127.0.0.1:{server.port}", limit=2) as pool:
            first, second = await pool.take(), await pool.take()
            waiting = [asyncio.ensure_future(pool.take()) for _ in range(3)]
            await asyncio.sleep(0.05)
            waiting[0].cancel()
            await asyncio.sleep(0)
            first.give_back()
            assert await waiting[1] is first
            # One that ends makes room for a new one.
            second.drop()
            third = await waiting[2]
            assert third not in (first, second)
            assert server.seen == 3
            third.give_back()
            first.give_back()

    run(main)


def test_one_who_leaves_just_then_loses_no_connection() -> None:
    async def main() -> None:
        async with serving() as server, pool_of(f"http://127.0.0.1:{server.port}", limit=1) as pool:
            for _ in range(20):
                taken = await pool.take()
                waiting = asyncio.ensure_future(pool.take())
                await asyncio.sleep(0)
                taken.give_back()
                waiting.cancel()
                await asyncio.wait((waiting,))
                assert waiting.cancelled()
                (await pool.take()).give_back()
            assert server.seen == 1

    run(main)


def test_a_wait_has_an_end() -> None:
    async def main() -> None:
        async with serving() as server, pool_of(f"http://127.0.0.1:{server.port}", limit=1, timeout=0.1) as pool:
            taken = await pool.take()
            with pytest.raises(ServiceError) as caught:
                await pool.take()
            assert caught.value.failure is TIMED_OUT
            taken.give_back()
            assert await pool.take() is taken

    run(main)


def test_what_is_idle_for_long_is_closed() -> None:
    async def main() -> None:
        async with serving() as server, pool_of(f"http://127.0.0.1:{server.port}", idle=0.1) as pool:
            taken = [await pool.take() for _ in range(3)]
            for connection in taken[1:]:
                connection.give_back()
            await until(lambda: len(server.open) == 1)
            taken[0].give_back()
            await until(lambda: not server.open)
            (await pool.take()).give_back()
            assert server.seen == 4

    run(main)


@pytest.mark.parametrize("how", ["close", "abort", "write"])
def test_what_the_other_side_ends_or_speaks_on_unasked_is_not_used(how: str) -> None:
    async def main() -> None:
        async with serving() as server, pool_of(f"http://127.0.0.1:{server.port}") as pool:
            (await pool.take()).give_back()
            (writer,) = server.open
            if how == "write":
                writer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            elif how == "close":
                writer.close()
            else:
                writer.transport.abort()
            await until(lambda: not server.open)
            (await pool.take()).give_back()
            assert server.seen == 2

    run(main)


def test_a_request_s_context_is_not_kept() -> None:
    """A connection lives on after the request that it was made for."""

    class Record:
        pass

    current: contextvars.ContextVar[Record] = contextvars.ContextVar("current")

    async def request(pool: Pool, kept: list[Any]) -> None:
        record = Record()
        kept.append(weakref.ref(record))
        current.set(record)
        (await pool.take()).give_back()

    async def main() -> None:
        async with serving() as server, pool_of(f"http://localhost:{server.port}") as pool:
            kept: list[Any] = []
            await asyncio.create_task(request(pool, kept))
            await until(lambda: kept[0]() is None)
            assert server.open

    run(main)


def left_by_failures() -> dict[str, list[int]]:
    """How many objects only the garbage collector finds, by Coze's address, after the first failures and later ones."""
    left: dict[str, list[int]] = {}

    async def main() -> None:
        async with serving() as server:
            bases = [
                "http://127.0.0.1:1",
                "http://nowhere.invalid",
                "http://localhost:1",
                f"https://localhost:{server.port}",
            ]
            for base in bases:
                left[base] = []
                async with pool_of(base) as pool:
                    for _ in range(3):
                        for _ in range(5):
                            with contextlib.suppress(ServiceError):
                                await pool.take()
                        await until(lambda: not server.open)
                        left[base].append(gc.collect())

    gc.collect()
    gc.disable()
    run(main)
    return left


def test_failures_leave_nothing_to_the_garbage_collector() -> None:
    """In a process of its own: in this one, the sandbox leaves something with each connection that ends meanwhile."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        left = alone.submit(left_by_failures).result()
    assert len(left) == 4
    assert {base: later for base, (_, *later) in left.items() if any(later)} == {}


class Names(uvloop.Loop):
    """A loop on which `coze.invalid` has these addresses."""

    asked = 0
    addresses: tuple[str, ...] = ()

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        if host != "coze.invalid":
            return await super().getaddrinfo(host, port, **options)
        self.asked += 1
        await asyncio.sleep(0.01)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


def test_every_address_of_a_name_is_tried() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Names)
        async with serving(host="127.0.0.3") as server:
            # One refuses, one takes no more: what is asked of it gets no answer.
            with socket.socket() as deaf, contextlib.ExitStack() as callers:
                deaf.bind(("127.0.0.2", server.port))
                deaf.listen(0)
                for _ in range(4):
                    caller = callers.enter_context(socket.socket())
                    caller.setblocking(False)
                    caller.connect_ex(("127.0.0.2", server.port))
                await asyncio.sleep(0.1)
                loop.addresses = ("127.0.0.2",)
                async with pool_of(f"http://coze.invalid:{server.port}", timeout=0.3) as pool:
                    with pytest.raises(ServiceError) as caught:
                        await pool.take()
                    assert caught.value.failure is TIMED_OUT
                loop.addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
                async with pool_of(f"http://coze.invalid:{server.port}") as pool:
                    (await pool.take()).give_back()
                assert server.seen == 1

    run(main, Names)


def test_a_name_is_asked_for_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Names)
        loop.addresses = ("127.0.0.1",)
        async with serving() as server, pool_of(f"http://coze.invalid:{server.port}", limit=50) as pool:
            taken = await asyncio.gather(*(pool.take() for _ in range(50)))
            assert loop.asked == 1
            for connection in taken:
                connection.drop()
            await pool.take()
            assert loop.asked == 1
        # Where nobody is, it may be somewhere else by now.
        async with pool_of("http://coze.invalid:1") as pool:
            for count in (2, 3):
                with pytest.raises(ServiceError) as caught:
                    await pool.take()
                assert caught.value.failure is UNREACHABLE
                assert loop.asked == count

    run(main, Names)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -keyout key.pem -out cert.pem"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost"], cwd=folder, check=True, capture_output=True
    )
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


def test_whoever_leaves_within_a_handshake_disturbs_nobody(tls: ssl.SSLContext, certificate: Path) -> None:
    """And what was being made then serves the next, or ends with the pool."""

    async def main() -> None:
        async with serving(tls) as server:
            base = f"https://localhost:{server.port}"
            for step in range(20):
                async with pool_of(base, SSL_CERT_FILE=str(certificate)) as pool:
                    leaving = [asyncio.ensure_future(pool.take()) for _ in range(3)]
                    await asyncio.sleep(step * 0.001)
                    for one in leaving:
                        one.cancel()
                    await asyncio.wait(leaving)
                    if step % 2:
                        (await pool.take()).give_back()
            assert server.seen

    run(main)


def test_a_handshake_has_an_end() -> None:
    async def main() -> None:
        # It answers what it hears, which is no TLS; and the other says nothing.
        async with serving() as server, pool_of(f"https://localhost:{server.port}", timeout=5) as pool:
            with pytest.raises(ServiceError) as caught:
                await pool.take()
            assert caught.value.failure is UNREACHABLE
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with pool_of(f"https://localhost:{silent.getsockname()[1]}", timeout=0.2) as pool:
                with pytest.raises(ServiceError) as caught:
                    await pool.take()
                assert caught.value.failure is TIMED_OUT

    run(main)
