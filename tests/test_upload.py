"""POST /api/v1/upload: the file reaches Coze whole, under its name, and everything else is refused in its envelope."""

import hashlib
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from conftest import Service, Upstream
from envelope import assert_error

LIMIT = 10 * 1024 * 1024
CSV = b"name,age\nAda,36\n"


def upload(service: Service, name: str = "people.csv", content: bytes = CSV, **fields: str) -> httpx.Response:
    return service.http.post("/api/v1/upload", files={"file": (name, content)}, data=fields)


def raw(service: Service, body: bytes, kind: str = "multipart/form-data; boundary=b") -> httpx.Response:
    return service.http.post("/api/v1/upload", content=body, headers={"content-type": kind})


def part(headers: str, content: bytes = CSV) -> bytes:
    return b"--b\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"


def test_a_file_with_a_description(service: Service, upstream: Upstream) -> None:
    answer = upload(service, "文档 1.csv", description="这是一个文档")
    assert answer.status_code == 200, answer.text
    stored = upstream.state()["uploads"][-1]
    file_url = answer.json()["file_url"]
    assert service.http.get(file_url).content == CSV
    assert answer.json() == {
        "success": True,
        "message": "File uploaded successfully",
        "file_id": stored["id"],
        "file_url": file_url,
        "file_name": "文档 1.csv",
        "bytes": len(CSV),
        "description": "这是一个文档",
    }
    assert (stored["name"], stored["bytes"]) == ("文档 1.csv", len(CSV))
    assert stored["sha256"] == hashlib.sha256(CSV).hexdigest()


def test_without_a_description(service: Service) -> None:
    assert "description" not in upload(service).json()


def test_ten_mebibytes_and_not_one_byte_more(service: Service, upstream: Upstream) -> None:
    content = b"a,b\n" + b"x" * (LIMIT - 4)
    assert upload(service, content=content).json()["bytes"] == LIMIT
    assert upstream.state()["uploads"][-1]["sha256"] == hashlib.sha256(content).hexdigest()
    before = upstream.state()["requests"]["POST /v1/files/upload"]
    assert assert_error(upload(service, content=content + b"x"), 413) == "File too large. Maximum size is 10MB"

    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        for start in range(0, len(content), 65536):
            yield content[start : start + 65536]
        yield b"x\r\n--b--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = service.http.post("/api/v1/upload", content=chunks(), headers=kind)
    assert assert_error(answer, 413) == "File too large. Maximum size is 10MB"
    assert upstream.state()["requests"]["POST /v1/files/upload"] == before


def test_much_too_large_is_still_answered(service: Service) -> None:
    answer = upload(service, content=b"x" * (25 * 1024 * 1024))
    assert_error(answer, 413)


def test_memory_stays_bounded(service: Service) -> None:
    process = psutil.Process(service.process.pid)
    content = b"x" * LIMIT
    upload(service, content=content)
    before = process.memory_info().rss
    for _ in range(10):
        assert upload(service, content=content).status_code == 200
    assert process.memory_info().rss - before < 8 * 1024 * 1024


def test_an_endless_body_is_cut_off(service: Service) -> None:
    """However much comes, no more than some 32 MiB is read."""
    head = (
        b"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    with socket.create_connection(service.address, timeout=60) as connection:
        connection.sendall(head)
        start = part('Content-Disposition: form-data; name="file"; filename="a.csv"', b"")
        connection.sendall(b"%x\r\n%b\r\n" % (len(start), start))
        with pytest.raises(OSError):  # noqa: PT012 - whichever write meets the closed connection
            while sent < 200 * 1024 * 1024:
                connection.sendall(chunk)
                sent += 65536
                time.sleep(0)
    assert sent < 64 * 1024 * 1024
    assert service.http.get("/").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        b"hello",
        part('Content-Disposition: form-data; name="other"; filename="a.csv"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename=""') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="a.csv"'),  # no end
        part('Content-Disposition: form-data; name="file"; filename="a.csv"') * 2 + b"--b--\r\n",
        part("Content-Type: text/csv") + b"--b--\r\n",
        part('Content-Disposition: attachment; name="file"; filename="a.csv"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="' + "a" * 300 + '.csv"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="' + "a" * 20_000 + '"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename=".."') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="a\x00b.csv"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="a\u202egnp.exe"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="x"') * 2000 + b"--b--\r\n",
        part("X: y\r\n" * 50 + 'Content-Disposition: form-data; name="file"; filename="a.csv"') + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="a.csv"')
        + part('Content-Disposition: form-data; name="description"', b"\xff\xfe")
        + b"--b--\r\n",
        part('Content-Disposition: form-data; name="file"; filename="a.csv"')
        + part('Content-Disposition: form-data; name="description"', b"\xe7\x8c\xab" * 2001)
        + b"--b--\r\n",
        part('Content-Disposition: form-data; name="description"', b"x" * 1_000_000) + b"--b--\r\n",
    ],
    ids=lambda body: repr(body[:70]),
)
def test_forms_that_are_refused(service: Service, body: bytes) -> None:
    assert_error(raw(service, body), 400)


@pytest.mark.parametrize(
    "kind",
    [
        "Multipart/Form-Data;Boundary=b",
        'multipart/form-data; charset=utf-8; boundary="b"; x',
        "multipart/form-data;;\tboundary=b;",
    ],
)
def test_media_types_that_are_taken(service: Service, kind: str) -> None:
    body = part('Content-Disposition: form-data; name="file"; filename="a.csv"') + b"--b--\r\n"
    assert raw(service, body, kind).status_code == 200


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=b"],
)
def test_media_types_that_are_refused(service: Service, kind: str) -> None:
    body = part('Content-Disposition: form-data; name="file"; filename="a.csv"') + b"--b--\r\n"
    headers = {"content-type": kind} if kind else {}
    assert_error(service.http.post("/api/v1/upload", content=body, headers=headers), 400)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'filename="a.csv"', "a.csv"),
        (b'filename="../../etc/passwd.csv"', "passwd.csv"),
        (b'filename="C:\\\\temp\\\\a.csv"', "a.csv"),
        (b'filename="/a.csv"', "a.csv"),
        (b'filename=" a.csv "', "a.csv"),
        ('filename="猫 🐈.csv"'.encode(), "猫 🐈.csv"),
        (b'filename="a;b=c.csv"', "a;b=c.csv"),
        ('filename="报告\u3000最终版 10.32.07\u202fAM.csv"'.encode(), "报告\u3000最终版 10.32.07\u202fAM.csv"),
        (
            'filename="👨\u200d👩\u200d👧 می\u200cخواهم \U0001fae9.csv"'.encode(),
            "👨\u200d👩\u200d👧 می\u200cخواهم \U0001fae9.csv",
        ),
        ('filename="报告.csv"'.encode("gbk"), "报告.csv"),
        (b"filename=\"=?utf-8?B?5oql5ZGKLmNzdg==?=\"; filename*=utf-8''%E6%8A%A5%E5%91%8A.csv", "报告.csv"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_file_names(service: Service, upstream: Upstream, sent: bytes, kept: str) -> None:
    """They come back, reach Coze and stand in the file's link as they were sent."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; ' + sent
    answer = raw(service, head + b"\r\n\r\n" + CSV + b"\r\n--b--\r\n").json()
    assert answer["file_name"] == kept
    assert upstream.state()["uploads"][-1]["name"] == kept
    disposition = service.http.get(answer["file_url"]).headers["content-disposition"]
    assert disposition.endswith(f"; filename*=UTF-8''{quote(kept, safe='')}")


def test_an_empty_file(service: Service, upstream: Upstream) -> None:
    """Whatever Coze would say of it."""
    before = upstream.state()["requests"]
    assert assert_error(upload(service, content=b""), 400) == "The file is empty."
    assert upstream.state()["requests"] == before


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("", "描述".encode()),
        ("", "描述".encode("gbk")),
        ("\r\nContent-Type: text/plain; charset=Big5", "描述".encode("big5")),
        ("\r\nContent-Type: text/plain; charset=x-nobody-s", "描述".encode()),
        ("\r\nContent-Type: text/plain; charset=us-ascii", "描述".encode()),
    ],
)
def test_a_description_in_the_encoding_of_a_console(service: Service, kind: str, content: bytes) -> None:
    body = part('Content-Disposition: form-data; name="file"; filename="a.csv"')
    body += part(f'Content-Disposition: form-data; name="description"{kind}', content)
    assert raw(service, body + b"--b--\r\n").json()["description"] == "描述"


def test_unknown_parts_are_ignored(service: Service) -> None:
    body = (
        part('Content-Disposition: form-data; name="other"', b"x" * 1000)
        + part('Content-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv')
        + part('Content-Disposition: form-data; name="description"', b"late")
        + b"--b--\r\n"
    )
    assert raw(service, body).json()["description"] == "late"


def test_what_coze_refuses(service: Service) -> None:
    assert "type" in assert_error(upload(service, "virus.exe"), 400)
    for content in (b"not a picture", b"\xff\xd8\xff\xe0" + b"\0" * 30):
        assert "content and its name do not agree" in assert_error(upload(service, "picture.png", content), 400)


def test_the_document_s_text_file(service: Service) -> None:
    assert upload(service, "test.txt", "你好".encode(), description="测试文件").status_code == 200


def test_two_at_once_do_not_mix(service: Service, upstream: Upstream) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one(number: int) -> Any:
        return upload(service, f"{number}.csv", f"{number}".encode() * 100_000).json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    stored = {row["id"]: row for row in upstream.state()["uploads"]}
    for number, answer in enumerate(answers):
        row = stored[answer["file_id"]]
        assert (row["name"], row["sha256"]) == (
            f"{number}.csv",
            hashlib.sha256(f"{number}".encode() * 100_000).hexdigest(),
        )
