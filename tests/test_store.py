"""What the service remembers, in a real database file and on a real Valkey server: whole or not there."""

import asyncio
import contextlib
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from conftest import ValkeyServer

from service.bounds import BOUNDS
from service.store import Conversation, OwnedFile, Position, Store, StoreDown, StoreUnusable, open_store, sql, sqlite

T = TypeVar("T")

DAY = 24 * 3600


def now() -> int:
    return time.time_ns() // 1_000_000


NOW = now()
FILE = "coze-service.sqlite3"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may be slow at times, but where a test is about that."""
    monkeypatch.setattr(BOUNDS, "store_seconds", 60.0)
    monkeypatch.setattr(BOUNDS, "store_lock_seconds", 60.0)


@pytest.fixture(params=["folder", "valkey"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "data")
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    server.client.flushall()
    return server.uri()


def with_store(where: str, work: Callable[[Store], Awaitable[T]], lifetime: int = DAY) -> T:
    async def run() -> T:
        async with open_store(where, lifetime) as store:
            return await work(store)

    return asyncio.run(run())


def conversation(number: int, user: str = "ada", bot: str = "7", at: int | None = None) -> Conversation:
    time = NOW + number if at is None else at
    return Conversation(f"{7000 + number}", user, bot, f"Question {number}", time, time)


def test_a_turn_is_recorded_once_and_moves_its_conversation_to_the_front(where: str) -> None:
    async def work(store: Store) -> None:
        first, second = conversation(1), conversation(2)
        assert await store.record_turn(first)
        assert await store.record_turn(second)
        assert await store.conversation("7001") == first
        again = first._replace(name="Another name", bot_id="8", created_at=NOW + 50, updated_at=NOW + 50)
        assert await store.record_turn(again)
        moved = first._replace(updated_at=NOW + 50)
        assert await store.conversation("7001") == moved
        # A clock that was set back moves nothing back.
        assert await store.record_turn(first)
        assert (await store.conversations("ada", None, 10, None)).conversations == [moved, second]
        assert (await store.conversations("ada", "7", 10, None)).conversations == [moved, second]
        assert (await store.conversations("ada", "8", 10, None)).conversations == []

    with_store(where, work)


def test_another_users_conversation_stays_theirs(where: str) -> None:
    async def work(store: Store) -> None:
        hers = conversation(1)
        assert await store.record_turn(hers)
        assert not await store.record_turn(hers._replace(user_id="bob", updated_at=NOW + 9))
        assert await store.conversation("7001") == hers
        assert (await store.conversations("bob", None, 10, None)).conversations == []

    with_store(where, work)


def test_a_deleted_conversation_is_gone_and_its_id_does_not_become_free(where: str) -> None:
    async def work(store: Store) -> None:
        one = conversation(1)
        assert await store.record_turn(one)
        assert await store.deleted(["7001", "1"]) == set()
        assert await store.rename("7001", "名字")
        assert await store.conversation("7001") == one._replace(name="名字")
        assert await store.delete("7001")
        assert not await store.delete("7001")
        assert not await store.rename("7001", "again")
        assert await store.conversation("7001") is None
        assert (await store.conversations("ada", None, 10, None)).conversations == []
        assert (await store.conversations("ada", "7", 10, None)).conversations == []
        assert await store.deleted(["7001", "1"]) == {"7001"}
        assert await store.deleted([]) == set()
        for user in ("ada", "bob"):
            assert not await store.record_turn(one._replace(user_id=user))
        for unknown in (store.delete("1"), store.rename("1", "x"), store.conversation("1")):
            assert not await unknown

    with_store(where, work)


def test_pages_neither_repeat_nor_lose_while_new_ones_come(where: str) -> None:
    # Some of them at the same millisecond.
    all_of_them = [conversation(number, at=NOW + number // 3) for number in range(25)]

    async def work(store: Store) -> None:
        for one in all_of_them:
            assert await store.record_turn(one)
        seen: list[Conversation] = []
        position: Position | None = None
        for page_number in range(5):
            page = await store.conversations("ada", "7", 6, position)
            seen += page.conversations
            position = page.next
            assert await store.record_turn(conversation(100 + page_number))
        assert position is None
        assert seen == sorted(all_of_them, key=lambda one: (one.updated_at, one.conversation_id), reverse=True)

    with_store(where, work)


def test_a_page_that_just_holds_the_rest_is_the_last(where: str) -> None:
    async def work(store: Store) -> None:
        for number in range(4):
            await store.record_turn(conversation(number))
        page = await store.conversations("ada", None, 2, None)
        assert page.next == Position(page.conversations[-1].updated_at, page.conversations[-1].conversation_id)
        rest = await store.conversations("ada", None, 2, page.next)
        assert len(rest.conversations) == 2
        assert rest.next is None

    with_store(where, work)


def test_a_conversation_is_forgotten_a_lifetime_after_its_last_turn(where: str) -> None:
    async def work(store: Store) -> None:
        old, fresh = conversation(1, at=NOW - 2 * DAY * 1000), conversation(2)
        assert await store.record_turn(old)
        assert await store.record_turn(fresh)
        assert await store.conversation("7001") is None
        assert (await store.conversations("ada", None, 10, None)).conversations == [fresh]
        assert not await store.rename("7001", "x")
        assert not await store.delete("7001")

    with_store(where, work)


def test_files_are_their_users_until_they_expire(where: str) -> None:
    async def work(store: Store) -> None:
        await store.record_file("51", OwnedFile("ada", "a.txt", "0a"), now() + 60_000)
        await store.record_file("51", OwnedFile("bob", "b.txt", ""), now() + 60_000)
        await store.record_file("52", OwnedFile("bob", "b.txt", ""), now() - 1)
        many = [str(number) for number in range(100_000, 101_500)]
        assert await store.files(["51", "52", "53", *many]) == {"51": OwnedFile("ada", "a.txt", "0a")}
        assert await store.files([]) == {}

    with_store(where, work)


def test_a_secret_is_the_first_that_anybody_proposed(where: str) -> None:
    async def work(store: Store) -> None:
        secrets = await asyncio.gather(*(store.shared_secret("visitors", bytes([n]) * 32) for n in range(20)))
        assert len(set(secrets)) == 1
        assert await store.shared_secret("visitors", b"other") == secrets[0]
        assert await store.shared_secret("another", b"\x00'\"") == b"\x00'\""

    with_store(where, work)


def test_odd_texts_come_back_as_they_were(where: str) -> None:
    odd = ["名字 👩‍👩‍👧", "a\x00b", "'; DROP TABLE conversations; --", "a:b", "*", " ", "x" * 1000]

    async def work(store: Store) -> None:
        for number, text in enumerate(odd):
            one = Conversation(f"{number}", text, text, text, NOW, NOW)
            assert await store.record_turn(one)
            assert (await store.conversations(text, text, 10, None)).conversations == [one]

    with_store(where, work)


TURNS = f"""
import asyncio, sys
from service.bounds import BOUNDS
from service.store import Conversation, open_store
BOUNDS.store_seconds = BOUNDS.store_lock_seconds = 60.0
async def main(where, mine):
    async with open_store(where, 9999) as store:
        for n in range(150):
            one = Conversation(mine + str(n), "ada", "7", "x", {NOW}, {NOW} + n)
            await store.record_turn(one)
asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_write_at_once(where: str) -> None:
    # The two make the schema at once, too.
    both = [subprocess.Popen([sys.executable, "-c", TURNS, where, mine]) for mine in "12"]
    assert [process.wait(120) for process in both] == [0, 0]

    async def length(store: Store) -> int:
        page = await store.conversations("ada", None, 1000, None)
        return len(page.conversations)

    assert with_store(where, length) == 300


# Forks a writer for each folder it is told, so that none has to import anything. A line is one write, and whole.
WRITERS = f"""
import asyncio, os, sys
from itertools import count
import service.store.sqlite
from service.bounds import BOUNDS
from service.store import Conversation, open_store
BOUNDS.store_seconds = BOUNDS.store_lock_seconds = 60.0
async def main(folder):
    async with open_store(folder, 9999) as store:
        for n in count(1):
            await store.record_turn(Conversation(str(n), "ada", "7", "x", {NOW}, {NOW} + n))
            os.write(1, b"%d\\n" % n)
            if n % 3 == 0:
                await store.delete(str(n))
for line in sys.stdin:
    if not (writer := os.fork()):
        asyncio.run(main(line.strip()))
    os.write(1, b"writer %d\\n" % writer)
    os.waitpid(writer, 0)
    os.write(1, b"ended\\n")
"""


@pytest.fixture
def writers() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    yield process
    process.communicate()
    assert process.returncode == 0


def test_a_process_that_is_killed_leaves_nothing_half(writers: subprocess.Popen[str], tmp_path: Path) -> None:
    assert writers.stdin is not None
    assert writers.stdout is not None
    # Fixed, so that a failure can be looked at again.
    chance = random.Random(1)
    for attempt in range(100):
        folder = tmp_path / str(attempt)
        writers.stdin.write(f"{folder}\n")
        lines = [writers.stdout.readline() for _ in range(chance.randrange(2, 40))]
        time.sleep(chance.random() / 200)
        pid = next(int(line.split()[1]) for line in lines if line.startswith("writer"))
        os.kill(pid, signal.SIGKILL)
        while (line := writers.stdout.readline()) != "ended\n":
            lines.append(line)
        told = int([line for line in lines if not line.startswith("writer")][-1])
        with contextlib.closing(sqlite3.connect(folder / FILE)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = {int(row[0]) for row in database.execute("SELECT conversation_id FROM conversations")}
        # What was answered is there, and at most one more.
        assert kept in (set(range(1, told + 1)), set(range(1, told + 2)))


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("PRAGMA user_version = 1000")
    with pytest.raises(StoreUnusable, match="newer version"):
        with_store(str(tmp_path), lambda store: store.conversation("1"))
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_database_of_an_older_version_is_upgraded_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_store(str(tmp_path), lambda store: store.record_turn(conversation(1)))
    for script, fits in (
        ("ALTER TABLE conversations ADD COLUMN one TEXT; ALTER TABLE nowhere ADD COLUMN two TEXT", False),
        ("ALTER TABLE conversations ADD COLUMN one TEXT; ALTER TABLE files ADD COLUMN two TEXT", True),
    ):
        with monkeypatch.context() as later:
            later.setattr(sql, "SCHEMA", (*sql.SCHEMA, script))
            with contextlib.nullcontext() if fits else pytest.raises(StoreUnusable, match="nowhere"):
                assert with_store(str(tmp_path), lambda store: store.conversation("7001")) == conversation(1)
        if not fits:
            # Nothing of it is done, and the older version goes on.
            assert with_store(str(tmp_path), lambda store: store.conversation("7001")) == conversation(1)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)
        assert database.execute("SELECT one, conversation_id FROM conversations").fetchall() == [(None, "7001")]
    with pytest.raises(StoreUnusable, match="newer version"):
        with_store(str(tmp_path), lambda store: store.conversation("1"))


def test_a_server_with_a_newer_form_is_refused(valkey_server: ValkeyServer) -> None:
    valkey_server.client.flushall()
    valkey_server.client.set("coze-service:schema", 1000)
    with pytest.raises(StoreUnusable, match="newer version"):
        with_store(valkey_server.uri(), lambda store: store.conversation("1"))


@pytest.mark.parametrize("kind", ["a file", "no database"])
def test_what_is_no_store_ends_the_start(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "data"
    if kind == "a file":
        place.write_text("text")
    else:
        place.mkdir()
        (place / FILE).write_text("text" * 1000)
    with pytest.raises(StoreUnusable, match=f"STORE={place}"):
        with_store(str(place), lambda store: store.conversation("1"))


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        assert await store.record_turn(conversation(1))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # A file that may not grow fails as a full disk does; the signal would end the process.
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        try:
            with pytest.raises(StoreDown):
                await store.record_turn(conversation(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        assert await store.conversation("7001") == conversation(1)
        assert await store.conversation("7002") is None
        assert await store.record_turn(conversation(2))

    with_store(str(tmp_path / "data"), work)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk of its own")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_was_full_is_used_again(small_disk: Path) -> None:
    """The service starts and runs while it is, and says so."""
    place, filler = small_disk / "data", small_disk / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    async def work(store: Store) -> None:
        assert await store.record_turn(conversation(1))
        fill()
        refused = 0
        for number in range(2, 200):
            try:
                assert await store.record_turn(conversation(number)._replace(name="x" * 4000))
            except StoreDown:
                refused += 1
        assert refused
        filler.unlink()
        assert await store.conversation("7001") == conversation(1)
        assert await store.record_turn(conversation(1000))

    async def refused(store: Store) -> None:
        with pytest.raises(StoreDown):
            await store.record_turn(conversation(1))
        filler.unlink()
        assert await store.record_turn(conversation(1))

    fill()
    with_store(str(place), refused)
    with_store(str(place), work)
    with contextlib.closing(sqlite3.connect(place / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_folder_that_may_not_be_written_ends_the_start(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with_store(name, lambda store: store.record_turn(conversation(1)))
        folder.chmod(0o555)
        (folder / FILE).chmod(0o444)
        is_root = os.geteuid() == 0
        if is_root:
            # Root may write anywhere.
            os.seteuid(65534)
        try:
            for place in (name, f"{name}/below"):
                with pytest.raises(StoreUnusable, match=f"^STORE={place}: [^\\n]+$"):
                    with_store(place, lambda store: store.conversation("7001"))
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o755)


@pytest.mark.parametrize("gone", [(FILE,), (FILE, f"{FILE}-wal"), (FILE, f"{FILE}-wal", f"{FILE}-shm")])
def test_a_database_that_is_removed_begins_anew(tmp_path: Path, gone: tuple[str, ...]) -> None:
    """In all processes that have it open."""

    async def work(store: Store) -> None:
        async with open_store(str(tmp_path), DAY) as other:
            assert await store.record_turn(conversation(1))
            assert await other.record_turn(conversation(2))
            for name in gone:
                (tmp_path / name).unlink()
            assert await store.conversation("7001") is None
            assert await store.record_turn(conversation(3))
            assert await other.conversation("7003") == conversation(3)
            assert await other.record_turn(conversation(4))
            assert (await store.conversations("ada", None, 9, None)).conversations == [conversation(4), conversation(3)]

    with_store(str(tmp_path), work)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM conversations").fetchone() == (2,)


def test_a_folder_that_goes_and_comes_back(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "data", tmp_path / "elsewhere"

    async def work(store: Store) -> None:
        assert await store.record_turn(conversation(1))
        place.rename(elsewhere)
        place.write_text("in the way")
        with pytest.raises(StoreDown):
            await store.conversation("7001")
        place.unlink()
        elsewhere.rename(place)
        assert await store.conversation("7001") == conversation(1)
        assert await store.record_turn(conversation(2))

    with_store(str(place), work)


def test_a_locked_database_is_waited_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "store_lock_seconds", 0.2)

    async def work(store: Store) -> None:
        assert await store.record_turn(conversation(1))
        with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await store.conversation("7001") == conversation(1)
            with pytest.raises(StoreDown, match="locked"):
                await store.record_turn(conversation(2))
            other.execute("COMMIT")
        assert await store.record_turn(conversation(2))

    with_store(str(tmp_path), work)


def test_a_server_that_goes_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ValkeyServer()

    async def work(store: Store) -> None:
        with pytest.raises(StoreDown):
            await store.conversation("7001")
        server.start()
        assert await store.record_turn(conversation(1))
        server.process.send_signal(signal.SIGSTOP)
        with monkeypatch.context() as impatient:
            impatient.setattr(BOUNDS, "store_seconds", 0.5)
            with pytest.raises(StoreDown, match="no answer"):
                await store.conversation("7001")
        server.process.send_signal(signal.SIGCONT)
        assert await store.conversation("7001") == conversation(1)
        server.kill()
        with pytest.raises(StoreDown):
            await store.record_turn(conversation(2))
        server.start()
        assert await store.record_turn(conversation(2))
        assert await store.conversation("7001") is None

    try:
        with_store(server.uri(), work)
    finally:
        server.kill()
        server.client.connection_pool.disconnect()


def test_nothing_shows_the_servers_password(valkey_server: ValkeyServer, capfd: pytest.CaptureFixture[str]) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(StoreDown) as caught:
            await store.conversation("1")
        assert "wrong" not in str(caught.value)

    with_store(valkey_server.uri().replace("store-secret", "wrong-secret"), work)
    assert "wrong-secret" not in "".join(capfd.readouterr())


def test_a_clock_that_jumps_ahead_makes_nobody_forget_a_conversation(where: str) -> None:
    """That of one machine of several, or of all for a moment."""

    async def work(store: Store) -> None:
        await store.record_turn(conversation(1))
        await store.record_turn(conversation(2, at=NOW + 400 * DAY * 1000))
        page = await store.conversations("ada", None, 10, None)
        assert [found.conversation_id for found in page.conversations] == ["7002", "7001"]

    with_store(where, work)


def test_a_clock_that_jumps_ahead_and_back_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is overdue leaves the file only if it was overdue an hour before, too."""
    monkeypatch.setattr(BOUNDS, "store_clean_seconds", 0.0)

    async def work(store: Store) -> None:
        await store.record_turn(conversation(1))
        for days in (400, 0):
            monkeypatch.setattr(sqlite, "_now", lambda days=days: now() + days * DAY * 1000)
            await store.record_turn(conversation(2))
        assert await store.conversation("7001")

    with_store(str(tmp_path), work)
    with_store(str(tmp_path), work)


def test_what_is_overdue_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "store_clean_seconds", 0.0)
    old = NOW - 2 * DAY * 1000

    async def fill(store: Store) -> None:
        for number in range(3):
            await store.record_turn(conversation(number, at=old))
        await store.record_file("51", OwnedFile("ada", "a.txt", "0a"), old)

    async def use(store: Store) -> None:
        for _ in range(2):
            await store.record_turn(conversation(10))

    with_store(str(tmp_path), fill, lifetime=10 * DAY)
    with_store(str(tmp_path), use)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        rows = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("conversations", "files")]
    assert rows == [1, 0]


def test_what_is_overdue_leaves_a_bit_at_a_time_and_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOUNDS, "store_clean_rows", 2)

    async def work(store: Store) -> None:
        async def record(number: int, at: int | None = None) -> int:
            """How many conversations there are after it."""
            await store.record_turn(conversation(number, at=at))
            with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
                count: int = database.execute("SELECT count(*) FROM conversations").fetchone()[0]
            return count

        old = NOW - 2 * DAY * 1000
        assert await record(1) == 1
        assert [await record(number, old) for number in range(2, 7)] == [2, 3, 4, 5, 6]
        monkeypatch.setattr(BOUNDS, "store_clean_seconds", 0.0)
        assert [await record(1) for _ in range(4)] == [4, 2, 1, 1]

    with_store(str(tmp_path), work)


def test_a_server_that_is_full_still_tells_what_it_has(valkey_server: ValkeyServer) -> None:
    """Also a process that has just started: else it would know no visitor."""
    valkey_server.client.flushall()

    async def fill(store: Store) -> bytes:
        await store.record_turn(conversation(1))
        return await store.shared_secret("visitors", b"first")

    async def ask(store: Store) -> None:
        assert await store.shared_secret("visitors", b"second") == b"first"
        assert await store.conversation("7001") == conversation(1)
        with pytest.raises(StoreDown):
            await store.record_turn(conversation(2))

    assert with_store(valkey_server.uri(), fill) == b"first"
    valkey_server.client.config_set("maxmemory", "1")
    try:
        with_store(valkey_server.uri(), ask)
    finally:
        valkey_server.client.config_set("maxmemory", "0")


def test_so_many_connections_to_a_server_are_used(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    valkey_server.client.flushall()
    monkeypatch.setattr(BOUNDS, "store_connections", 2)

    async def work(store: Store) -> None:
        before = valkey_server.connections()
        await asyncio.gather(*(store.conversation(str(number)) for number in range(50)))
        # One of them was there before.
        assert valkey_server.connections() == before + 1

    with_store(valkey_server.uri(), work)


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    place = tmp_path / "data"

    async def work(store: Store) -> None:
        await store.record_turn(conversation(1))
        assert len(list(place.iterdir())) == 3
        for path in (place, *place.iterdir()):
            assert path.stat().st_mode & 0o077 == 0, path

    with_store(str(place), work)


def test_no_question_reads_more_than_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SQLite plans each statement that the store executes: by an index, and without sorting."""
    monkeypatch.setattr(BOUNDS, "store_clean_seconds", 0.0)
    executed: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.set_trace_callback(executed.append)
        return connection

    async def work(store: Store) -> None:
        await store.record_turn(conversation(1))
        await store.conversation("7001")
        await store.deleted(["7001"])
        for bot in (None, "7"):
            for position in (None, Position(NOW, "7001")):
                await store.conversations("ada", bot, 20, position)
        await store.record_file("51", OwnedFile("ada", "a.txt", "0a"), now() + 60_000)
        await store.files(["51", "52"])
        await store.rename("7001", "name")
        await store.delete("7001")

    with monkeypatch.context() as watched:
        watched.setattr(sqlite3, "connect", traced)
        with_store(str(tmp_path), work)
    asked = [text for text in executed if re.match(r"\s*(SELECT|UPDATE|DELETE)", text)]
    assert len(asked) >= 11
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        for text in asked:
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {text}")]
            # json_each is the list of ids in the question itself.
            scans = [step for step in plan if step.startswith("SCAN") and "json_each" not in step]
            assert not scans, f"{text}: {plan}"
            assert not any("TEMP B-TREE" in step for step in plan), f"{text}: {plan}"
