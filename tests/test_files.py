"""GET /api/v1/files/{link}: what was uploaded is seen by its `file_url`, in a folder and on S3, whatever happens."""

import asyncio
import contextlib
import errno
import fcntl
import io
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import obstore
import psutil
import pytest
from browser import chromium
from conftest import Service, Start, Upstream, changed, http, wait_until
from envelope import assert_error
from obstore.store import S3Store
from playground import picture

from service.bounds import BOUNDS
from service.contract import contract
from service.files import links
from service.files.bucket import Bucket
from service.files.folder import Folder
from service.files.store import Bounds, StoredFile, StoreError

MIB = 1024 * 1024
PNG: bytes = picture()["buffer"]
HTML = b"<!doctype html><script>document.title = 'it ran'</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>parent.document.title = "it ran"</script></svg>'
SECRET = "s3cretS3cret"


@dataclass
class Store:
    """A store of files: the variables that choose it, and a look into it: sizes by name."""

    kind: str
    env: dict[str, str]
    sizes: Callable[[], dict[str, int]]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that speaks S3, with a bucket `files`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [f"{sysconfig.get_path('scripts')}/moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    signed = "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"

    def made() -> bool:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            return http.put(f"{url}/files", headers={"Authorization": signed}).status_code == 200
        return False

    try:
        wait_until(made, 60)
        yield url, process
    finally:
        process.kill()
        process.wait()


def on_s3(url: str, prefix: str) -> Store:
    env = {
        "FILE_STORE": f"s3://files/{prefix}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    config: Any = {name.lower(): value for name, value in env.items() if name.startswith("AWS_")}
    bucket = S3Store("files", prefix=prefix, config=config, client_options={"allow_http": True})
    return Store("s3", env, lambda: {found["path"]: found["size"] for some in obstore.list(bucket) for found in some})


def in_folder(folder: Path) -> Store:
    def sizes() -> dict[str, int]:
        found = {}
        for entry in os.scandir(folder) if folder.exists() else ():
            with contextlib.suppress(FileNotFoundError):
                found[entry.name] = entry.stat().st_size
        return found

    return Store("folder", {"FILE_STORE": str(folder)}, sizes)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as (url, _):
        yield url


@pytest.fixture(scope="module", params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if request.param == "folder":
        return in_folder(tmp_path_factory.mktemp("kept") / "files")
    return on_s3(request.getfixturevalue("s3"), "kept/files")


@pytest.fixture(scope="module")
def keeping(store: Store, start: Start) -> Service:
    """A service that keeps files in `store`, in some 20 MiB."""
    return start(**store.env, FILE_STORE_MAX_BYTES=str(20 * MIB))


def upload(service: Service, content: bytes, name: str = "a.txt") -> str | None:
    answer = service.http.post("/api/v1/upload", files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    url: str | None = answer.json()["file_url"]
    return url


def link(service: Service, content: bytes = PNG, name: str = "evening.png") -> str:
    url = upload(service, content, name)
    assert url, service.output()
    return url


def kept(store: Store) -> dict[str, int]:
    return {name: size for name, size in store.sizes().items() if links.NAME.fullmatch(name)}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("evening.png", PNG, "image/png"),
        ('晚霞 "1" 100%.png', PNG, "image/png"),
        ("words.txt", PNG, "image/png"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + b"x" * 100, "image/jpeg"),
        ("a.gif", b"GIF89a" + b"x" * 100, "image/gif"),
        ("a.webp", b"RIFF\x10\0\0\0WEBP" + b"x" * 100, "image/webp"),
        ("a.txt", b"RIFF\x10\0\0\0WAVE" + b"x" * 100, None),
        ("page.txt", HTML, None),
        ("drawing.md", SVG, None),
        ("1", b"1", None),
        ("big.csv", b"0123456789abcde\n" * (10 * MIB // 16), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_uploaded_is_seen(keeping: Service, name: str, content: bytes, kind: str | None) -> None:
    url = link(keeping, content, name)
    assert re.fullmatch(re.escape(keeping.url) + r"/api/v1/files/[A-Za-z0-9_-]{72}", url)
    answer = http.get(url, headers={"Origin": "https://example.com"})
    assert (answer.status_code, answer.content) == (200, content)
    headers = answer.headers
    assert headers["content-type"] == kind or (kind is None and headers["content-type"] == "application/octet-stream")
    way, plain, encoded = headers["content-disposition"].split("; ")
    assert way == ("inline" if kind else "attachment")
    assert re.fullmatch(r'filename="[ !#$&-\[\]-~]+"', plain)
    assert encoded.isascii()
    assert httpx.QueryParams(encoded.replace("filename*=UTF-8''", "name="))["name"] == name
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-length"] == str(len(content))
    age = re.fullmatch(r"private, max-age=(\d+), immutable", headers["cache-control"])
    assert age
    assert 600_000 < int(age[1]) <= 604_800


TEXT = b"0123456789"


@pytest.mark.parametrize(
    ("headers", "status", "content"),
    [
        ({"range": "bytes=0-0"}, 206, b"0"),
        ({"range": "bytes=2-4"}, 206, b"234"),
        ({"range": "bytes=7-"}, 206, b"789"),
        ({"range": "bytes=-3"}, 206, b"789"),
        ({"range": "bytes=-30"}, 206, TEXT),
        ({"range": "bytes=5-99"}, 206, b"56789"),
        ({"range": "bytes=0-9"}, 206, TEXT),
        ({"range": "bytes=10-"}, 416, b""),
        ({"range": "bytes=-0"}, 416, b""),
        ({"range": "bytes=99-100"}, 416, b""),
        ({"range": "bytes=0-1,3-4"}, 200, TEXT),
        ({"range": "bytes=4-2"}, 200, TEXT),
        ({"range": "bytes=-"}, 200, TEXT),
        ({"range": "bytes=a-b"}, 200, TEXT),
        ({"range": "lines=1-2"}, 200, TEXT),
        ({"range": "bytes=1-" + "9" * 5000}, 200, TEXT),
        ({"range": "bytes=1-2", "if-range": "ETAG"}, 206, b"12"),
        ({"range": "bytes=1-2", "if-range": "W/ETAG"}, 200, TEXT),
        ({"range": "bytes=1-2", "if-range": '"other"'}, 200, TEXT),
        ({"range": "bytes=1-2", "if-range": "Wed, 25 Nov 2026 00:00:00 GMT"}, 200, TEXT),
        ({"if-none-match": "ETAG"}, 304, b""),
        ({"if-none-match": '"a", W/ETAG'}, 304, b""),
        ({"if-none-match": "*"}, 304, b""),
        ({"if-none-match": '"a"'}, 200, TEXT),
        ({"if-none-match": "ETAG", "range": "bytes=0-1"}, 304, b""),
    ],
    ids=lambda value: str(value)[:60],
)
def test_conditions_and_ranges(
    keeping: Service, numbers: str, headers: dict[str, str], status: int, content: bytes
) -> None:
    etag = keeping.http.get(numbers).headers["etag"]
    answer = keeping.http.get(numbers, headers={name: value.replace("ETAG", etag) for name, value in headers.items()})
    assert answer.status_code == status
    # What schemathesis cannot see, because it guesses no link: the headers that the contract promises.
    document = contract().document
    response = document["paths"]["/api/v1/files/{link}"]["get"]["responses"][str(status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    promised = response["headers"]
    assert {name.lower() for name in promised if not name.startswith("RateLimit")} <= set(answer.headers)
    if status == 416:
        assert_error(answer, 416)
        assert answer.headers["content-range"] == "bytes */10"
        return
    assert answer.content == content
    assert answer.headers["etag"] == etag
    assert ("content-range" in answer.headers) == (status == 206)
    if status == 206:
        first = TEXT.index(content)
        assert answer.headers["content-range"] == f"bytes {first}-{first + len(content) - 1}/10"


@pytest.fixture(scope="module")
def numbers(keeping: Service) -> str:
    return link(keeping, TEXT, "numbers.txt")


def test_a_range_across_pieces(keeping: Service) -> None:
    content = os.urandom(3 * MIB)
    url = link(keeping, content, "noise.txt")
    for first, last in ((MIB - 1, MIB), (5, 3 * MIB - 2), (128 * 1024, 2 * MIB)):
        answer = keeping.http.get(url, headers={"Range": f"bytes={first}-{last}"})
        assert (answer.status_code, answer.content) == (206, content[first : last + 1])


def test_a_link_that_is_not_whole_or_not_ours_leads_nowhere(keeping: Service, store: Store, service: Service) -> None:
    base, _, good = link(keeping).rpartition("/")
    foreign = link(service).rpartition("/")[2]
    wrong = [good[:at] + ("B" if good[at] != "B" else "C") + good[at + 1 :] for at in range(len(good))]
    wrong += [foreign, good[:-1], good + "A", good.lower(), "key", "account", ".", "..", "%2e%2e%2fkey", "..%5ckey"]
    wrong += [*kept(store), good + "%00", "A" * 72, "文" * 24, "A" * 5000, good + "=", good[:-1] + "%0a"]
    answers = [keeping.http.get(f"{base}/{bad}") for bad in wrong]
    for bad, answer in zip(wrong, answers, strict=True):
        if bad not in (".", "..", "%2e%2e%2fkey"):  # these name another path
            assert assert_error(answer, 404) == "There is no such file, or its link is no longer valid."
        assert answer.status_code == 404
    assert keeping.http.get(f"{base}/{good}").content == PNG


def test_links_are_in_no_log(keeping: Service) -> None:
    link_itself = link(keeping).rpartition("/")[2]
    for path, name in ((link_itself, "right"), (link_itself + "x", "wrong")):
        keeping.http.get(f"/api/v1/files/{path}", headers={"X-Request-ID": name})
        wait_until(lambda: [line for line in keeping.lines() if line.get("request_id") == name])  # noqa: B023
        (line,) = (line for line in keeping.lines() if line.get("request_id") == name)
        assert line["route"] == "/api/v1/files/{link}"
    assert link_itself not in keeping.output()


def test_the_log_says_how_a_download_ended(keeping: Service) -> None:
    url = link(keeping, os.urandom(2 * MIB), "noise.txt")
    for name, headers in (("whole", {}), ("part", {"Range": "bytes=1-"})):
        assert keeping.http.get(url, headers={"X-Request-ID": name, **headers}).is_success
        wait_until(lambda: [line for line in keeping.lines() if line.get("request_id") == name])  # noqa: B023
        (line,) = (line for line in keeping.lines() if line.get("request_id") == name)
        assert line["outcome"] == "completed"


def test_links_hold_after_a_restart_and_on_every_worker(keeping: Service, store: Store, start: Start) -> None:
    old = link(keeping).removeprefix(keeping.url)
    two = start(**store.env, WORKERS="2", PUBLIC_BASE_URL="https://files.example.com/coze/")
    new = link(two).removeprefix("https://files.example.com/coze")
    for url in (old, new):
        for one in (two, two, two, two, keeping):
            assert http.get(one.url + url).content == PNG  # a connection each: whichever worker
    # The page to chat on shows pictures from there.
    policy = two.http.get("/playground").headers["content-security-policy"]
    assert "img-src 'self' blob: https://files.example.com https:;" in policy
    assert two.stop() == 0


def test_much_more_than_the_bound(keeping: Service, store: Store) -> None:
    """200 MiB through 20: never more is kept, the newest is, and memory stays what it was."""
    process = psutil.Process(keeping.process.pid)
    rooms, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            sizes = store.sizes()
            rooms.append(sum(-(-size // 4096) * 4096 for name, size in sizes.items() if len(name) > 40))
            time.sleep(0.01 if store.kind == "folder" else 0.1)

    content = os.urandom(5 * MIB)
    for _ in range(4):
        link(keeping, content, "a.txt")
    before = process.memory_info().rss
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            first, *_, last = [link(keeping, content, "a.txt") for _ in range(36)]
        finally:
            # Else the pool would wait for it for ever.
            ended.set()
        watching.result()
    assert 10 * MIB < max(rooms) <= 20 * MIB
    assert process.memory_info().rss - before < 24 * MIB
    assert http.get(last).content == content
    assert http.get(first).status_code == 404


def test_several_uploads_at_once_keep_to_the_bound(start: Start, tmp_path: Path) -> None:
    """From several processes into one folder."""
    store = in_folder(tmp_path / "files")
    service = start(**store.env, FILE_STORE_MAX_BYTES=str(4 * MIB), WORKERS="2")
    contents = [bytes([65 + number]) * 300_000 for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(lambda n: link(service, contents[n], f"{n}.txt"), range(24)))
    found = [http.get(url) for url in urls]
    assert {answer.status_code for answer in found} == {200, 404}
    for content, answer in zip(contents, found, strict=True):
        assert answer.status_code == 404 or answer.content == content
    room = sum(-(-size // 4096) * 4096 for size in kept(store).values())
    assert room <= int((tmp_path / "files" / "account").read_bytes()) <= 4 * MIB
    assert os.stat(tmp_path / "files").st_mode & 0o077 == 0


def test_a_life_ends(store: Store, start: Start, tmp_path: Path) -> None:
    brief = on_s3(store.env["AWS_ENDPOINT_URL"], "brief") if store.kind == "s3" else in_folder(tmp_path / "files")
    service = start(**brief.env, FILE_LIFETIME="2")
    url = link(service)
    wait_until(lambda: http.get(url).status_code == 404)
    assert_error(http.get(url), 404)
    wait_until(lambda: not kept(brief))


def test_a_link_ends_before_its_file_has_left(service: Service) -> None:
    link(service)
    folder = Path(psutil.Process(service.process.pid).cwd()) / ".files"
    newest = max(kept(in_folder(folder)))
    for seconds, status in ((-1, 404), (600, 200)):
        name = links.new_name(time.time() + seconds)
        shutil.copy(folder / newest, folder / name)
        url = "/api/v1/files/" + links.link_to(name, (folder / "key").read_bytes())
        assert service.http.get(url).status_code == status


def not_kept(service: Service) -> str:
    """The cause that the log gives for an upload that was not kept."""
    assert upload(service, PNG.ljust(99_500), "evening.png") is None
    return str([line["cause"] for line in service.lines() if line["event"] == "file not kept"][-1])


def test_off_keeps_nothing(start: Start) -> None:
    service = start(FILE_STORE="off")
    assert upload(service, PNG, "evening.png") is None
    assert_error(service.http.get("/api/v1/files/" + "A" * 72), 404)
    assert not [line for line in service.lines() if line["event"] == "file not kept"]


def test_a_full_disk_loses_only_the_link(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    store = in_folder(tmp_path / "files")
    service = start(**store.env)
    url = link(service)
    process = psutil.Process(service.process.pid)
    # No file may grow beyond this: a disk that is full for all but small files, for root as for others. That is room
    # for the upload, but not for what is kept with it.
    process.rlimit(psutil.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    assert not_kept(service) == "File too large"
    assert upstream.state()["uploads"][-1]["bytes"] == 99_500
    # And no room for the upload: Coze gets no half of it.
    refused = service.http.post("/api/v1/upload", files={"file": ("a.txt", bytes(200_000))})
    assert_error(refused, 503)
    assert upstream.state()["uploads"][-1]["bytes"] == 99_500
    assert len(kept(store)) == 1
    assert not [name for name in store.sizes() if name.endswith(".part")]
    process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert http.get(url).content == PNG
    assert http.get(link(service, PNG * 200)).content == PNG * 200


def test_a_file_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > MIB:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().read(size)

    folder = Folder(tmp_path / "files", Bounds(10 * MIB, 100))
    with pytest.raises(StoreError, match="No space left on device"):
        asyncio.run(folder.put(links.new_name(1), Breaking(bytes(2 * MIB)), 2 * MIB))
    assert set(in_folder(tmp_path / "files").sizes()) == {"account"}


def test_a_folder_that_cannot_be_used(start: Start, tmp_path: Path) -> None:
    service = start(FILE_STORE="/proc/nobody/may/make/this")
    assert not_kept(service) in ("No such file or directory", "Permission denied")
    blocked = tmp_path / "files"
    service = start(FILE_STORE=str(blocked))
    url = link(service)
    blocked.rename(tmp_path / "away")
    blocked.write_text("not a folder")
    assert not_kept(service) in ("Not a directory", "File exists")
    answer = http.get(url)
    assert assert_error(answer, 503).startswith("The file cannot be read just now.")
    assert answer.headers["retry-after"]
    blocked.unlink()
    (tmp_path / "away").rename(blocked)
    assert http.get(url).content == PNG


def test_a_store_that_hangs_holds_up_neither_downloads_nor_a_stop(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """A folder whose lock somebody keeps, as a stopped process does; an S3 that takes connections and never answers."""
    store = in_folder(tmp_path / "files")
    url = link(start(**store.env)).rpartition("/")[2]
    with contextlib.ExitStack() as stack:
        account = stack.enter_context((tmp_path / "files" / "account").open("rb"))
        fcntl.flock(account, fcntl.LOCK_EX)
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        silent_s3 = on_s3(f"http://127.0.0.1:{silent.getsockname()[1]}", "x")
        on_silent = start(*changed(files_wait_seconds=1), **silent_s3.env)
        service = start(*changed(files_lock_seconds=1), **store.env)
        pool = stack.enter_context(ThreadPoolExecutor(21))

        def at_coze() -> int:
            return int(upstream.state(0)["requests"].get("POST /v1/files/upload", 0))

        before = at_coze()
        cause = pool.submit(not_kept, on_silent)
        uploads = [pool.submit(upload, service, PNG) for _ in range(20)]
        wait_until(lambda: [line for line in service.lines() if line["event"] == "file store not cleaned up"])
        assert service.http.get(f"/api/v1/files/{url}").content == PNG
        assert service.http.get("/metrics").status_code == 200
        # Else some would come to a service that has stopped.
        wait_until(lambda: at_coze() == before + 21)
        assert service.stop() == 0
        assert {done.result() for done in uploads} == {None}
        assert "the folder is in use" in {line.get("cause") for line in service.lines()}
        assert cause.result() == "no answer within 1 seconds"
        assert on_silent.stop() == 0


@pytest.mark.parametrize("bound", ["bucket_request_seconds", "bucket_seconds"])
def test_s3_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(BOUNDS, "bucket_request_seconds", 3600.0)
    monkeypatch.setattr(BOUNDS, "bucket_seconds", 3600.0)
    monkeypatch.setattr(BOUNDS, bound, 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = on_s3(f"http://127.0.0.1:{silent.getsockname()[1]}", "x")

        async def ask() -> None:
            async with asyncio.timeout(30):
                credentials = {name.lower(): value for name, value in store.env.items() if name.startswith("AWS_")}
                await Bucket(store.env["FILE_STORE"], Bounds(MIB, 100), credentials).key(create=False)

        with pytest.raises(StoreError, match="no answer"):
            asyncio.run(ask())


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"301 Moved Permanently", "a redirect, as where AWS_REGION is wrong"),
        (b"200 OK", "an answer that is not S3's"),
        (b"403 Forbidden", "403"),
    ],
)
def test_s3_that_answers_otherwise(answer: bytes, cause: str) -> None:
    """Then an operator must not look for a network that fails."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % answer)

        thread = threading.Thread(target=serve)
        thread.start()
        store = on_s3(f"http://127.0.0.1:{server.getsockname()[1]}", "x")
        credentials = {name.lower(): value for name, value in store.env.items() if name.startswith("AWS_")}
        with pytest.raises(StoreError, match=rf"^S3: {cause}$"):
            asyncio.run(Bucket(store.env["FILE_STORE"], Bounds(MIB, 100), credentials).clean())
        thread.join()


def test_s3_that_fails(start: Start, s3: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for change, cause in (
        ({"FILE_STORE": "s3://nowhere"}, "NoSuchBucket"),
        ({"AWS_ENDPOINT_URL": nobody}, "no answer"),
    ):
        service = start(**on_s3(s3, "x").env | change)
        assert not_kept(service) == f"S3: {cause}"
        wait_until(lambda: [line for line in service.lines() if line["event"] == "file store not cleaned up"])  # noqa: B023
        assert SECRET not in service.output()


def test_a_request_whose_host_is_none(service: Service) -> None:
    for host in ("evil.example/path", "a b", "user@host", "host:99999999", '"><script>'):
        answer = service.http.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers={"Host": host})
        assert answer.status_code == 400 or answer.json()["file_url"] is None
    answer = service.http.post("/api/v1/upload", files={"file": ("a.txt", b"1")}, headers={"Host": "[::1]:2026"})
    assert answer.json()["file_url"].startswith("http://[::1]:2026/api/v1/files/")


def test_a_crash_leaves_whole_files_only(start: Start, tmp_path: Path) -> None:
    store = in_folder(tmp_path / "files")
    service = start(**store.env)
    link(service)
    content = os.urandom(8 * MIB)

    def go_on() -> None:
        with httpx.Client(base_url=service.url, timeout=60) as http, contextlib.suppress(httpx.TransportError):
            while True:
                http.post("/api/v1/upload", files={"file": ("a.txt", content)})

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(kept(store)) > 3 and [name for name in store.sizes() if name.endswith(".part")])
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    for thread in threads:
        thread.join()
    assert set(kept(store).values()) == {len(PNG) + 2048, len(content) + 2048}
    # One more that nobody writes any more, and one that somebody does.
    dead, alive = (tmp_path / "files" / f"{links.new_name(time.time() + 99)}.part" for _ in range(2))
    dead.write_bytes(b"x")
    with alive.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        link(start(**store.env))
        wait_until(lambda: not dead.exists())
        assert [name for name in store.sizes() if name.endswith(".part")] == [alive.name]


def test_readers_who_do_not_read_hold_up_nobody(keeping: Service) -> None:
    content = os.urandom(10 * MIB)
    url = link(keeping, content, "a.txt")
    process = psutil.Process(keeping.process.pid)
    before, memory = len(process.open_files()), process.memory_info().rss
    request = f"GET {url.removeprefix(keeping.url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(30)
            reader.connect(keeping.address)
            reader.sendall(request)
            assert reader.recv(12) == b"HTTP/1.1 200"
        assert http.get(url).content == content
        assert http.get(link(keeping)).content == PNG
        assert process.memory_info().rss - memory < 40 * MIB // 2
    wait_until(lambda: len(process.open_files()) <= before)
    wait_until(lambda: [line.get("outcome") for line in keeping.lines()].count("unread") >= 40)


def test_a_stop_lets_a_download_finish(start: Start) -> None:
    service = start()
    content = os.urandom(10 * MIB)
    url = link(service, content, "a.txt")
    with httpx.stream("GET", url, timeout=30) as answer:
        pieces = answer.iter_raw()
        received = next(pieces)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: [line for line in service.lines() if line["event"] == "stopping"])
        received += b"".join(pieces)
    assert received == content
    assert service.process.wait(60) == 0


@pytest.mark.browser
def test_nothing_in_a_file_runs_in_a_browser(service: Service) -> None:
    page_url, drawing, script = (
        link(service, content, name)
        for name, content in (("page.txt", HTML), ("drawing.txt", SVG), ("a.txt", b"document.title = 'it ran'"))
    )

    def made(tag: str, more: str = "") -> str:
        return f"src => Object.assign(document.createElement('{tag}'), {{src, {more}}})"

    with chromium() as browser, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(f"{service.url}/openapi.json")

        def loads(tag: str, url: str) -> object:
            ends = "onload: () => resolve(true), onerror: () => resolve(false)"
            return page.evaluate(f"url => new Promise(resolve => document.body.append(({made(tag, ends)})(url)))", url)

        for url, name in ((page_url, "page.txt"), (drawing, "drawing.txt")):
            with page.expect_download() as saved:
                page.evaluate("url => { location.href = url; }", url)
            assert saved.value.suggested_filename == name
        for url in (page_url, drawing):
            with page.expect_response(url):
                page.evaluate(f"url => void document.body.append(({made('iframe')})(url))", url)
        assert loads("script", script) is False
        assert loads("img", drawing) is False
        assert loads("img", link(service)) is True
        assert page.title() == ""


def stored(*expiries: int, room: int = 10) -> list[StoredFile]:
    return [StoredFile(links.new_name(expires), room) for expires in expiries]


def test_a_clock_that_jumps_ahead_and_back_costs_no_file() -> None:
    bounds, files = Bounds(1000, lifetime=100), stored(1050, 1060)
    assert bounds.overdue(files, now=1000) == []
    assert bounds.overdue(files, now=99_000) == []
    assert bounds.overdue(files, now=1001) == []
    assert bounds.overdue(files, now=1055) == []
    assert bounds.overdue(files, now=1056) == files[:1]
    assert bounds.overdue(files[1:], now=1070) == []
    assert bounds.overdue(files[1:], now=1071) == files[1:]


def test_files_of_a_wrong_clock_make_room_for_those_of_the_right_one() -> None:
    bounds = Bounds(100, lifetime=100)
    files = stored(1010, 99_000, 1020, 98_000, 1030, 1040, 1050, 1060, 1070, 1080)
    assert bounds.surplus(files, 0, now=1000) == []
    assert bounds.surplus(files, 10, now=1000) == [files[3], files[1]]
    assert bounds.surplus(files, 25, now=1000) == [files[3], files[1], files[0], files[2]]
    # All gone ahead: the oldest first.
    assert bounds.surplus(files[2::2], 80, now=98_500)[:1] == [files[2]]


def test_a_link_is_its_name_and_its_signature() -> None:
    name, key = links.new_name(1_700_000_000), os.urandom(32)
    made = links.link_to(name, key)
    assert links.NAME.fullmatch(name)
    assert links.expiry_of(name) == 1_700_000_000
    assert links.name_in(made, key) == name
    assert links.name_in(made, os.urandom(32)) is None
    assert len({links.new_name(1) for _ in range(1000)}) == 1000
    assert sorted([links.new_name(2), links.new_name(1)])[0].startswith("0000000003e8")
