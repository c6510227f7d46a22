"""The interface through which the Coze side reports its work. It knows no log, metric or trace."""

from typing import Protocol

from service.coze.http import Answer, CallObserver
from service.errors import ServiceError


class Observer(CallObserver, Protocol):
    """Receives reports of calls, chats and the token. Methods must not raise, and get no token."""

    def running_chats(self, number: int) -> None:
        """Reports the number of running chats, whenever it changes."""

    def cancelled(self, answer: Answer, code: int | None) -> None:
        """Reports Coze's answer to the cancellation of an abandoned chat, and the `code` in it if any."""

    def not_cancelled(self, error: ServiceError) -> None:
        """Reports that the cancellation of an abandoned chat did not reach Coze, or had no answer."""

    def bot_not_described(self, bot_id: str, error: ServiceError) -> None:
        """Reports that Coze did not describe a bot that the operator configured, or whose old profile is served on."""

    def token_fetched(self, lifetime_seconds: float) -> None: ...

    def token_not_fetched(self, error: ServiceError) -> None: ...

    def token_end_not_believed(self, assumed_seconds: int) -> None:
        """Reports an impossible expiry of a token, which is assumed to live `assumed_seconds` instead."""

    def token_file_read(self) -> None: ...

    def token_file_unusable(self, reason: str) -> None:
        """Reports a bad token file. The last good token stays in use."""
