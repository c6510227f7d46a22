"""The bots that are served: any, or those that `BOTS` names and the default one."""

import re

from service.errors import BAD_REQUEST, NO_BOT, ServiceError
from service.settings import Settings

# The default bot, where bots are called models.
_DEFAULT_MODEL = "default"


class ServedBots:
    """The bots by the names that callers may use for them: the names of `BOTS`, and ids."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.coze_bot_id
        # Those that the operator configured, in order, each with its first name.
        self.configured: dict[str, str | None] = {}
        for name, bot_id in settings.bots:
            self.configured.setdefault(bot_id, name)
        if self._default:
            self.configured.setdefault(self._default, None)
        self._ids: dict[str, str] | None = None
        if settings.bots:
            self._ids = dict(settings.bots) | {bot_id: bot_id for bot_id in self.configured}

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

    def id_in_path(self, asked: str) -> str:
        """The same for an id that becomes part of a path at Coze. Raises ServiceError (404)."""
        bot_id = self.id_of(asked)
        # Coze's ids are 64-bit numbers. The operator's own are taken as they are.
        if bot_id not in self.configured and not (re.fullmatch("[0-9]{1,19}", bot_id) and int(bot_id) < 2**63):
            raise ServiceError(NO_BOT)
        return bot_id

    def is_default(self, bot_id: str) -> bool:
        return bot_id == self._default

    @property
    def models(self) -> list[str]:
        """The operator's bots as models: the default one, and the first name of each."""
        names = [name for name in self.configured.values() if name is not None]
        return list(dict.fromkeys(([_DEFAULT_MODEL] if self._default else []) + names))

    def of_model(self, model: str) -> str | None:
        """The id of the bot that is called `model`; None for the default one. Raises ServiceError (404)."""
        if model == _DEFAULT_MODEL and model not in (self._ids or ()):
            if not self._default:
                raise ServiceError(NO_BOT)
            return None
        return self.id_in_path(model)
