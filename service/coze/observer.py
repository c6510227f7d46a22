"""What the Coze side reports of its work. It knows of no log, figure or trace; its observer does."""

from typing import Protocol

from service.coze.http import Answer, CallObserver
from service.errors import ServiceError


class Observer(CallObserver, Protocol):
    """Is told of calls, of chats and of the token. None of it may raise, and no token is among what it is told."""

    def running_chats(self, number: int) -> None:
        """So many chats are running from now on."""

    def cancelled(self, answer: Answer, code: int | None) -> None:
        """Coze has answered, with this code if any, to the wish to cancel a chat that was left."""

    def not_cancelled(self, error: ServiceError) -> None:
        """The wish to cancel a chat that was left did not reach Coze, or had no answer."""

    def token_fetched(self, lifetime_seconds: float) -> None: ...

    def token_not_fetched(self, error: ServiceError) -> None: ...

    def token_end_not_believed(self, assumed_seconds: int) -> None:
        """Coze gave a token an end that cannot be; it is taken to live so long."""

    def token_file_read(self) -> None: ...

    def token_file_unusable(self, reason: str) -> None:
        """The last good token stays in use."""
