"""How long Coze may take: for a chat's first event, for each further one, and for the whole of it."""

from typing import NamedTuple

from service.coze.errors import TIMED_OUT
from service.errors import ServiceError


class TimeLimits(NamedTuple):
    """Time limits of a chat, in seconds."""

    first_event: float
    event: float  # between two events
    chat: float  # the whole of it


class Patience:
    """The time that is left for the next event of a chat that begins `now`. All times are the loop's."""

    __slots__ = ("_deadline", "_event", "ends")

    def __init__(self, limits: TimeLimits, now: float) -> None:
        self._event = limits.event
        self._deadline = now + limits.chat
        self.ends = min(now + limits.first_event, self._deadline)

    def renew(self, now: float) -> None:
        """Begins to wait for another event."""
        self.ends = min(now + self._event, self._deadline)

    def suspend(self) -> None:
        """Waits for no event, only for the end of the chat."""
        self.ends = self._deadline

    def failure(self) -> ServiceError:
        """Returns the failure of a chat whose time is over."""
        whole = self.ends == self._deadline
        return ServiceError(TIMED_OUT, cause="the whole chat took too long" if whole else "silence")
