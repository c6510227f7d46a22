"""The bots that are served: any, or those that `BOTS` names and the default one."""

from service.errors import BAD_REQUEST, NO_BOT, ServiceError
from service.settings import Settings


class ServedBots:
    """The bots by the names that callers may use for them: the names of `BOTS`, and ids."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.coze_bot_id
        self._ids: dict[str, str] | None = None
        if settings.bots:
            self._ids = dict(settings.bots)
            for bot_id in (*self._ids.values(), self._default):
                if bot_id:
                    self._ids[bot_id] = bot_id

    def id_of(self, asked: str | None) -> str:
        """The id of the bot that a caller `asked` for, or of the default one. Raises ServiceError (400, 404)."""
        bot = asked or self._default
        if not bot:
            raise ServiceError(BAD_REQUEST, "bot_id is required either in request or environment variable COZE_BOT_ID")
        if self._ids is None:
            return bot
        if bot not in self._ids:
            raise ServiceError(NO_BOT)
        return self._ids[bot]
