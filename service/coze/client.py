"""Coze as the service uses it: chats, bots, uploads, the account, its workspaces."""

from typing import IO

import msgspec
from msgspec import UNSET

from generated.models import ChatRequest, User, Workspace
from service.bounds import BOUNDS
from service.coze import wire
from service.coze.bots import ServedBots
from service.coze.calls import Calls
from service.coze.chat import Chat
from service.coze.chats import Chats
from service.coze.conversations import Conversations
from service.coze.errors import ABSENT, NO_CONVERSATION, NOT_UNDERSTOOD, TOKEN_REFUSED, Asked, coze_failure
from service.coze.http import Route, route_to_coze, time_limit
from service.coze.observer import Observer
from service.coze.profiles import BotProfiles
from service.coze.recall import recall
from service.coze.translation import ChatEvent
from service.errors import ServiceError
from service.lifecycle import Lifecycle
from service.settings import Settings

# No bot has such an id. A number would be looked for.
_IMPOSSIBLE_CHAT = {"bot_id": "-", "user_id": "-", "stream": True}


class Upload(msgspec.Struct):
    """A file on its way to Coze. `file` is read from its start; `media_type` is as the client gave it."""

    name: str
    media_type: str
    file: IO[bytes]


class Coze:
    """Coze for one process. An asynchronous context manager that owns the connections and the cleaning up of chats."""

    def __init__(
        self, settings: Settings, observer: Observer, lifecycle: Lifecycle, *, route: Route | None = None
    ) -> None:
        """Raises SettingsError if no `route` is given and the settings make none."""
        self._settings = settings
        self._calls = Calls(settings, observer, route or route_to_coze(settings))
        self.bots = ServedBots(settings)
        self.profiles = BotProfiles(self.bots, self._calls, observer, settings.coze_request_timeout)
        self._chats = Chats(settings, self.bots, self._calls, observer, lifecycle)
        self.conversations = Conversations(self._calls)

    async def __aenter__(self) -> "Coze":
        await self._calls.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._chats.settled()
        await self._calls.__aexit__(*exc)

    def chat(self, request: ChatRequest) -> Chat:
        """Begins a chat, to be opened. Raises ServiceError (400, 404; 503 if no more chats are taken)."""
        return self._chats.begin(request)

    async def recall(self, asked: Asked, conversation_id: str, chat_id: str) -> list[ChatEvent] | ServiceError | None:
        """Returns all events of a chat from Coze's record, or its failure; None while it still runs.

        Raises ServiceError if Coze does not say.
        """
        return await recall(self._calls, asked, conversation_id, chat_id)

    async def cancel(self, conversation_id: str, chat_id: str) -> None:
        """Cancels a chat that this process does not read. Does not raise."""
        await self._chats.cancel(conversation_id, chat_id)

    def busy_conversations(self) -> set[str]:
        """Returns the ids of the conversations in which chats run in this process."""
        return self._chats.conversations

    def cancel_chats(self, conversation_id: str) -> None:
        """Ends the chats that run in a conversation that was deleted elsewhere."""
        self._chats.cancel_in(conversation_id)

    async def delete_conversation(self, conversation_id: str) -> None:
        """Deletes a conversation, after this process's chats in it have been stopped. Raises ServiceError.

        A conversation that Coze does not have, or cannot delete, counts as deleted: nobody is let into it any more.
        """
        await self._chats.stop_in(conversation_id)
        try:
            await self.conversations.delete(conversation_id)
        except ServiceError as error:
            if error.failure not in (ABSENT, NO_CONVERSATION):
                raise

    async def upload(self, upload: Upload) -> tuple[str, str | None]:
        """Returns the file's id at Coze, and its address where Coze gives one. Raises ServiceError."""
        upload.file.seek(0)
        answer, _ = await self._calls.call(
            "POST",
            "/v1/files/upload",
            wire.decode_file,
            asked=Asked.FILE,
            timeout=self._settings.coze_upload_timeout,
            files={"file": (upload.name, upload.file, upload.media_type)},
        )
        file_id = wire.text_id(answer.id)
        if file_id is None:
            raise ServiceError(NOT_UNDERSTOOD, cause="an upload without an id")
        return file_id, wire.web_address(answer.url)

    async def user(self) -> tuple[User, str | None]:
        """Returns the account that the token belongs to, and Coze's logid. Raises ServiceError."""
        answer, logid = await self._calls.call("GET", "/v1/users/me", wire.decode_user)
        user_id = wire.text_id(answer.user_id)
        if user_id is None:
            raise ServiceError(NOT_UNDERSTOOD, cause="a user without an id", logid=logid)
        user = User(
            user_id=user_id,
            user_name=answer.user_name or "",
            nick_name=answer.nick_name or "",
            avatar_url=wire.web_address(answer.avatar_url) or "",
        )
        return user, logid

    async def check(self) -> None:
        """Raises ServiceError unless Coze answers, accepts the token, and has chats."""
        try:
            await self.user()
        except ServiceError as error:
            if error.failure is not ABSENT:
                raise
            # Coze Studio has no endpoint for users. Nor has any server at a wrong path: only a chat tells them apart.
            await self._look_for_chats()

    async def _look_for_chats(self) -> None:
        """Begins a chat with an impossible bot. Raises ServiceError if Coze refuses more than the bot."""
        answer, body = await self._calls.exchange("POST", "/v3/chat", repeatable=True, json=_IMPOSSIBLE_CHAT)
        try:
            code = wire.decode_envelope(body).code or None
        except wire.UNDECODABLE:
            code = None
        failure = coze_failure(Asked.BOT, code=code, status=answer.status)
        if (code or answer.status != 200) and failure.status >= 500:
            if failure is TOKEN_REFUSED:
                self._calls.token_refused()
            raise ServiceError(failure, code=code, cause=f"HTTP {answer.status} to a chat", logid=answer.logid)

    async def workspaces(self) -> list[Workspace]:
        """Returns the workspaces of all pages, each once. Raises ServiceError."""
        async with time_limit(self._settings.coze_request_timeout):
            return await self._all_pages()

    async def _all_pages(self) -> list[Workspace]:
        found: dict[str, Workspace] = {}
        for number in range(1, BOUNDS.workspaces_pages + 1):
            page, _ = await self._calls.call(
                "GET",
                "/v1/workspaces",
                wire.decode_workspace_page,
                params={"page_num": number, "page_size": BOUNDS.workspaces_page},
            )
            rows = page.workspaces or []
            known = len(found)
            for row in rows:
                workspace = _workspace(row)
                if workspace is not None:
                    found.setdefault(workspace.id, workspace)
            seen_all = page.total_count is not None and number * BOUNDS.workspaces_page >= page.total_count
            # Coze's total may be wrong: a page that is not full, or brings nothing new, is the last one, too.
            if seen_all or len(rows) < BOUNDS.workspaces_page or len(found) == known:
                break
        return list(found.values())


def _workspace(row: bytes) -> Workspace | None:
    try:
        workspace = wire.decode_workspace(row)
    except wire.UNDECODABLE:
        return None
    identity = wire.text_id(workspace.id)
    if identity is None:
        return None
    return Workspace(
        id=identity,
        name=workspace.name or "",
        icon_url=wire.web_address(workspace.icon_url) or "",
        role_type=workspace.role_type or "",
        workspace_type=workspace.workspace_type or UNSET,
    )
