"""What Coze tells of bots, as far as a page may show it: picked field by field, and kept for some minutes.

A bot comes from Coze with its prompt, its plugins and its knowledge. None of that is decoded, so that none of it can
leave the service.
"""

import asyncio
import math
import time
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from generated.models import Bot, BotDetails
from service.bounds import BOUNDS
from service.coze import wire
from service.coze.bots import ServedBots
from service.coze.calls import Calls
from service.coze.errors import ABSENT, Asked
from service.coze.http import time_limit
from service.coze.observer import Observer
from service.errors import ServiceError


class Profile(Struct, frozen=True):
    """What is shown of a bot. What Coze did not say is empty."""

    title: str = ""
    description: str = ""
    icon_url: str = ""
    prologue: str = ""
    suggested_questions: tuple[str, ...] = ()


class _Kept:
    """The last profile of a bot if there is one, and the failure of the fetch after it."""

    __slots__ = ("failure", "fetching", "profile", "until")

    def __init__(self) -> None:
        self.profile: Profile | None = None
        self.failure: ServiceError | None = None
        self.until = -math.inf  # when to ask Coze again, by the monotonic clock
        self.fetching: asyncio.Task[None] | None = None


class BotProfiles:
    """The profiles of one process. Concurrent calls share one fetch, and its failure.

    While Coze is away the last profile is served on. It is gone once Coze says that there is no such bot.
    """

    def __init__(self, bots: ServedBots, calls: Calls, observer: Observer, timeout: float) -> None:
        """`timeout` bounds a fetch, in seconds."""
        self._bots = bots
        self._calls = calls
        self._observer = observer
        self._timeout = timeout
        self._configured = {bot_id: _Kept() for bot_id in bots.configured}
        # Those that callers name, the one asked for last at the end. They never displace the operator's.
        self._others: dict[str, _Kept] = {}
        self._gate = asyncio.Semaphore(BOUNDS.bots_at_once)

    async def configured(self) -> list[Bot]:
        """The operator's bots. One that Coze does not describe has no title.

        Raises ServiceError if Coze failed for all of them.
        """
        found = await asyncio.gather(*map(self._looked_up, self._bots.configured))
        failures = [kept.failure for kept in found if kept.profile is None and kept.failure is not None]
        if failures and len(failures) == len(found) and not any(map(_has_nothing_to_say, failures)):
            raise failures[0].again()
        return [
            Bot(**self._facts(bot_id, kept.profile or Profile()))
            for bot_id, kept in zip(self._bots.configured, found, strict=True)
        ]

    async def details(self, asked: str) -> BotDetails:
        """The bot of this name or id. Raises ServiceError."""
        bot_id = self._bots.id_in_path(asked)
        kept = await self._looked_up(bot_id)
        if kept.profile is None:
            assert kept.failure is not None
            raise kept.failure.again()
        return BotDetails(
            **self._facts(bot_id, kept.profile),
            prologue=kept.profile.prologue,
            suggested_questions=list(kept.profile.suggested_questions),
        )

    def _facts(self, bot_id: str, profile: Profile) -> dict[str, Any]:
        return {
            "bot_id": bot_id,
            "name": self._bots.configured.get(bot_id),
            "title": profile.title or None,
            "description": profile.description,
            "icon_url": profile.icon_url,
            "is_default": self._bots.is_default(bot_id),
        }

    async def _looked_up(self, bot_id: str) -> _Kept:
        """What is known of a bot, once Coze was asked where that is due: it has a profile or a failure."""
        kept = self._kept(bot_id)
        if kept.fetching is None and time.monotonic() >= kept.until:
            kept.fetching = asyncio.create_task(self._fetch(bot_id, kept))
        if (fetching := kept.fetching) is not None:
            # A client that leaves does not end it for the others. Who can have an old profile waits for a moment only.
            await asyncio.wait((fetching,), timeout=None if kept.profile is None else BOUNDS.bot_wait_seconds)
            if fetching.done():
                fetching.result()
        return kept

    def _kept(self, bot_id: str) -> _Kept:
        if (kept := self._configured.get(bot_id)) is not None:
            return kept
        kept = self._others[bot_id] = self._others.pop(bot_id, _Kept())
        if len(self._others) > BOUNDS.bots_kept:
            del self._others[next(iter(self._others))]
        return kept

    async def _fetch(self, bot_id: str, kept: _Kept) -> None:
        pause = BOUNDS.bot_retry_seconds
        try:
            async with time_limit(self._timeout), self._gate:
                kept.profile, _ = await self._calls.call(
                    "GET", f"/v1/bots/{quote(bot_id, safe='')}", profile_of, asked=Asked.PROFILE
                )
            pause = BOUNDS.bot_fresh_seconds
        except ServiceError as error:
            # A copy, since the error holds the frames of the call.
            kept.failure = error.again()
            if _has_nothing_to_say(error):
                kept.profile = None
            if kept.profile is not None or bot_id in self._configured:
                # Callers may not see this failure at all.
                self._observer.bot_not_described(bot_id, error)
        finally:
            kept.until = time.monotonic() + pause
            kept.fetching = None


def _has_nothing_to_say(error: ServiceError) -> bool:
    """Whether Coze answered that it has no such bot for its callers, or tells of none."""
    return error.status in (400, 404) or error.failure is ABSENT


def profile_of(data: bytes) -> Profile:
    """Picks the profile from a bot of Coze's. A field of the wrong type is passed over. Raises UNDECODABLE."""
    found = wire.decode_bot(data)
    try:
        onboarding = wire.decode_onboarding(found.onboarding_info)
    except wire.UNDECODABLE:
        onboarding = wire.Onboarding()
    questions = onboarding.suggested_questions or onboarding.capital_questions or []
    return Profile(
        title=_text(found.name),
        description=_text(found.description),
        icon_url=wire.web_address(found.icon_url) or "",
        prologue=_text(onboarding.prologue) or _text(onboarding.capital_prologue),
        suggested_questions=tuple(text for text in map(_text, questions) if text)[: BOUNDS.bot_questions],
    )


def _text(value: Any) -> str:
    return value.strip()[: BOUNDS.bot_text_characters] if isinstance(value, str) else ""
