"""Which If-None-Match names an answer that the client has already."""

import pytest

from service.answers.conditional import has_already

ETAG = '"0a1b"'


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        *((text, True) for text in (ETAG, f"W/{ETAG}", f' "x" ,{ETAG}', f'W/"x", W/{ETAG},', "*", " * ")),
        *((text, False) for text in ("", '"x"', "0a1b", '"0A1B"', f"w/{ETAG}", f"{ETAG}x", '"0a1b', ",", '"*"')),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    assert has_already({"if-none-match": condition}, ETAG) is expected


def test_without_a_condition_all_is_sent() -> None:
    assert not has_already({}, ETAG)
