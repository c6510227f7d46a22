"""What a client asks for: an answer to be kept, or one that is kept already from some event on."""

import re
from typing import NamedTuple

from service.users.caller import Principal

_EVENT_ID = re.compile(r"([A-Za-z0-9_-]{24})\.([0-9]{1,9})")


class Place(NamedTuple):
    """An event of an answer: what follows it is wanted."""

    answer_id: str
    number: int


def place(event_id: str) -> Place | None:
    """Returns the place that an event's id names; None if it is none of a kept answer."""
    found = _EVENT_ID.fullmatch(event_id)
    return Place(found[1], int(found[2])) if found else None


class Question(NamedTuple):
    """A question whose answer is kept.

    Sent again with the same `key`, it gets the same answer. `fingerprint` tells whether it is the same question.
    """

    user: Principal
    bot_id: str
    key: str | None
    fingerprint: str
