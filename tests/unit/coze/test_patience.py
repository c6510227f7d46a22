"""How long Coze may take for a chat, and what is said when it took longer."""

import pytest

from service.coze.errors import TIMED_OUT
from service.coze.patience import Patience, TimeLimits

LIMITS = TimeLimits(first_event=10, event=3, chat=60)


def test_the_first_event_may_take_longer_than_each_further_one() -> None:
    patience = Patience(LIMITS, 1000)
    assert patience.ends == 1010
    patience.renew(1008)
    assert patience.ends == 1011
    assert patience.failure().cause == "silence"


@pytest.mark.parametrize("first_event", [60, 61])
def test_nothing_takes_longer_than_the_whole_chat_may(first_event: float) -> None:
    patience = Patience(LIMITS._replace(first_event=first_event), 1000)
    assert patience.ends == 1060
    patience.renew(1050)
    assert patience.ends == 1053
    patience.renew(1058)
    assert patience.ends == 1060
    assert (patience.failure().failure, patience.failure().cause) == (TIMED_OUT, "the whole chat took too long")


def test_nobody_waits_for_an_event_of_a_chat_that_is_not_read() -> None:
    patience = Patience(LIMITS, 1000)
    patience.suspend()
    assert patience.ends == 1060
    patience.renew(1005)
    assert patience.ends == 1008
