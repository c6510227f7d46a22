"""`.env`: what other readers of such files take is taken alike; a line that is anything else ends the start."""

from pathlib import Path

import pytest

from service.settings.env_file import read_bindings

PEM = "-----BEGIN PRIVATE KEY-----\nQUJD+/Q=\n-----END PRIVATE KEY-----"


def read(folder: Path, content: str | bytes) -> dict[str, str]:
    path = folder / ".env"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {name: value for name, value, _ in read_bindings(path)}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("  A = b\t", "b"),
        ("A=", ""),
        ("A=''", ""),
        ("A= # nothing", ""),
        ("A=b # comment “with” anything\u3000in\u200bit", "b"),
        ("A=b#c", "b#c"),
        ("A=#b", "#b"),
        ("A=b=c", "b=c"),
        ("A=b c", "b c"),
        ("A=b\tc", "b\tc"),
        ("A=it's", "it's"),
        ("A='b # c' # comment", "b # c"),
        ('A="b # c"# comment', "b # c"),
        (r"A='\n \' \\'", r"\n ' \ ".rstrip()),
        (r'A="1\n2\t\"3\" \\n \d"', '1\n2\t"3" \\n \\d'),
        ("A=$HOME ${HOME} %HOME%", "$HOME ${HOME} %HOME%"),
        ("A=生产", "生产"),
        ("A=XbX", "XbX"),
        (f'A="{PEM}"', PEM),
        (f"A='{PEM}\n' # the key", f"{PEM}\n"),
        ("A=1\nA=2", "2"),
    ],
)
def test_what_others_take_is_taken_alike(tmp_path: Path, line: str, value: str) -> None:
    content = f"# B=1\n\n\t#\n{line}\nC=3"
    assert read(tmp_path, content) == {"A": value, "C": "3"}
    assert read(tmp_path, content.replace("\n", "\r\n")) == {"A": value, "C": "3"}
    assert read(tmp_path, b"\xef\xbb\xbf" + content.encode()) == {"A": value, "C": "3"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\u0085", "\v", "\f"])
def test_what_looks_like_a_line_is_one(tmp_path: Path, end: str) -> None:
    """So that no binding hides behind a comment or in another one's value."""
    assert read(tmp_path, f"# comment{end}A=1{end}B=2{end}") == {"A": "1", "B": "2"}


def test_only_blanks_around_a_line_are_none_of_it(tmp_path: Path) -> None:
    assert read(tmp_path, "\t XA=1X \t\nXB='2'\n") == {"XA": "1X", "XB": "2"}


def test_each_binding_says_its_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A=1\n\n# comment\nB='{PEM}'\nC=3\n")
    assert read_bindings(path) == [("A", "1", 1), ("B", PEM, 4), ("C", "3", 7)]


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert read_bindings(tmp_path / ".env") == []


@pytest.mark.parametrize(
    "line",
    [
        "API_KEYS",
        "export API_KEYS",
        "API_KEYS secret",
        "API_KEYS: secret",
        "API_KEYS:=secret",
        "API_KEYS += secret",
        "API_KEYS＝secret",  # a Chinese keyboard's
        "API_KEYS：secret",
        "-API_KEYS=secret",
        "$env:API_KEYS=secret",
        '$env:API_KEYS = "secret"',
        "set API_KEYS=secret",
        "SET API_KEYS=secret",
        "setenv API_KEYS secret",
        "declare -x API_KEYS=secret",
        "export -x API_KEYS=secret",
        '"API_KEYS"=secret',
        "'API_KEYS'=secret",
        "“API_KEYS”=secret",
        '"API_KEYS": "secret",',
        "API-KEYS=secret",
        "API.KEYS=secret",
        "API KEYS=secret",
        "ＡＰＩ_ＫＥＹＳ=secret",
        "АPI_KEYS=secret",  # a Cyrillic letter
        "1API_KEYS=secret",
        "=secret",
        "\u00a0API_KEYS=secret",
        "API_KEYS\u00a0=secret",
        "export\u00a0API_KEYS=secret",
        "\u3000API_KEYS=secret",
        "\ufeffAPI_KEYS=secret",  # as in a file that was put behind another
        "\u200bAPI_KEYS=secret",
        "API_\u200bKEYS=secret",
        "API_KEYS\u2060=secret",
        "\x00API_KEYS=secret",
        "// API_KEYS=secret",
        "; API_KEYS=secret",
        "＃ API_KEYS=secret",
        "[secret]",
        "{",
    ],
)
def test_a_line_without_a_binding_is_an_error(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match=r"^\.env has no NAME=value in line 4\.$"):
        read(tmp_path, f"# comment\n\nA=1\n{line}\nB=2\n")


@pytest.mark.parametrize(
    "value", ["\u00a0secret", "secret\u00a0", "se\u200bcret", "secret\u3000x", "'se\u202ecret'", "\0"]
)
def test_a_value_shows_all_it_holds(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=r"^\.env has a character that cannot be seen in line 2\.$"):
        read(tmp_path, f"\nA={value}\n")


@pytest.mark.parametrize(
    "rest",
    [
        '"secret',
        "'secret",
        '"secret" secret',
        '"secret\\"',
        "\"secret'",
        # What an open quotation mark takes in may be what keeps strangers out.
        '"secret\nAPI_KEYS=secret\nB="secret"',
        '"-----BEGIN PRIVATE KEY-----\nsecret\nAPI_KEYS=secret\nB="secret"',
        f'"{PEM}\nAPI_KEYS=secret\nB="{PEM}"',
        '"-----BEGIN PRIVATE KEY-----\nsecret"',
        '"-----BEGIN PRIVATE KEY-----\nsecret',
    ],
)
def test_quotation_marks_are_closed_where_the_value_ends(tmp_path: Path, rest: str) -> None:
    with pytest.raises(ValueError, match=r"^\.env has a quotation mark out of place in line 2\.$"):
        read(tmp_path, f"\nA={rest}\n")


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-32"])
def test_another_encoding_is_an_error(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"^\.env cannot be read as text in UTF-8\.$"):
        read(tmp_path, "A=生产\n".encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_another_encoding_without_a_mark_is_an_error(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"^\.env has no NAME=value in line 1\.$"):
        read(tmp_path, "API_KEYS=secret\n".encode(encoding))


def test_a_file_that_should_be_there_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"^\.env is a link that leads nowhere\.$"):
        read_bindings(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"^\.env cannot be read"):
        read_bindings(path)
