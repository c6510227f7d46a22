"""Coze as the service uses it: chats, uploads, the account, its workspaces.

The SDK makes and signs every request; what it does with answers is not used. Its reader dies on legal event streams,
ignores HTTP statuses and leaves connections open, so answers are read here, from the wire.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import IO, Any, TypeVar

import msgspec
from msgspec import UNSET

from generated.models import ChatRequest, User, Workspace
from service.bounds import BOUNDS
from service.coze import wire
from service.coze.chat import Chat
from service.coze.errors import ABSENT, NOT_UNDERSTOOD, TOKEN_REFUSED, Asked, coze_failure
from service.coze.http import Answer, Exchange, Receiver, Route, Transport, route_to_coze, time_limit
from service.coze.observer import Observer
from service.coze.question import messages_for_coze
from service.coze.sdk import HTTPRequest, Requester
from service.coze.tokens import token_for
from service.errors import BAD_REQUEST, FULL, STOPPING, ServiceError
from service.lifecycle import Lifecycle
from service.settings import Settings

# No bot has such an id. A number would be looked for.
_IMPOSSIBLE_CHAT = {"bot_id": "-", "user_id": "-", "stream": True}
# Coze Studio has no such endpoint and takes the caller for a browser that is not signed in, or says that outright.
_STUDIO_NO_SESSION = "missing session_key"

T = TypeVar("T")


class Upload(msgspec.Struct):
    """A file on its way to Coze. `file` is read from its start; `media_type` is what the client called it."""

    name: str
    media_type: str
    file: IO[bytes]


class Coze:
    """One for each process. An async context manager: it owns the connections and what is still to clean up."""

    def __init__(
        self, settings: Settings, observer: Observer, lifecycle: Lifecycle, *, route: Route | None = None
    ) -> None:
        """Raises SettingsError if no `route` is given and the settings make none."""
        self._settings = settings
        self._route = route or route_to_coze(settings)
        self._observer = observer
        self._token = token_for(settings, lambda request: self._transport.exchange(request), observer)
        self._requester = Requester(auth=self._token)
        self._chats: set[Chat] = set()
        self._cleaning: set[asyncio.Task[None]] = set()
        self._lifecycle = lifecycle
        lifecycle.at_grace_end(self._stop_chats)

    async def __aenter__(self) -> "Coze":
        self._transport = Transport(
            self._route,
            connect_timeout=self._settings.coze_connect_timeout,
            max_chats=self._settings.max_concurrent_chats,
            observer=self._observer,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        # Chats that are still to be cancelled; those whose callers are only just being cancelled will still come.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUNDS.goodbye_seconds):
                while self._chats or self._cleaning:  # noqa: ASYNC110 - once, at the very end
                    await asyncio.sleep(0.02)
        await self._transport.close()

    def chat(self, request: ChatRequest) -> Chat:
        """A chat, not yet opened. Raises ServiceError if the request makes no chat or no more chats are taken."""
        bot_id = request.bot_id or self._settings.coze_bot_id
        if not bot_id:
            raise ServiceError(BAD_REQUEST, "bot_id is required either in request or environment variable COZE_BOT_ID")
        body = {
            "bot_id": bot_id,
            "user_id": request.user_id,
            "additional_messages": messages_for_coze(request),
            "stream": True,
            "auto_save_history": True,
        }
        if self._lifecycle.stopping:
            raise ServiceError(STOPPING)
        if len(self._chats) >= self._settings.max_concurrent_chats:
            raise ServiceError(FULL)
        params = {"conversation_id": request.conversation_id} if request.conversation_id else None

        async def ask(receiver: Receiver) -> Exchange:
            made = await self._make("POST", "/v3/chat", params=params, json=body, stream=True)
            return await self._transport.begin(made, receiver)

        chat = Chat(
            self._settings,
            Asked.BOT if request.bot_id else Asked.DEFAULT_BOT,
            ask=ask,
            token_refused=self._token.refused,
            cancel=self._cancel,
            spawn=self._spawn,
            finished=self._finish,
        )
        self._chats.add(chat)
        self._observer.running_chats(len(self._chats))
        return chat

    def _finish(self, chat: Chat) -> None:
        self._chats.discard(chat)
        self._observer.running_chats(len(self._chats))

    def _stop_chats(self) -> None:
        """Ends every chat that still runs, as a failure that says why."""
        for chat in tuple(self._chats):
            chat.interrupt(STOPPING)

    async def upload(self, upload: Upload) -> tuple[str, str | None]:
        """The file's id at Coze, and its address where Coze gives one."""
        upload.file.seek(0)
        answer, _ = await self._call(
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
        """The account that the token belongs to, and Coze's logid."""
        answer, logid = await self._call("GET", "/v1/users/me", wire.decode_user)
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
            # A Coze Studio has no users, and knows no token where it has none; nor has any server at a wrong path.
            await self._look_for_chats()

    async def _look_for_chats(self) -> None:
        """Asks a bot that cannot be: it is refused, unless chats themselves are."""
        answer, body = await self._exchange("POST", "/v3/chat", repeatable=True, json=_IMPOSSIBLE_CHAT)
        try:
            code = wire.decode_answer(body).code or None
        except wire.UNDECODABLE:
            code = None
        failure = coze_failure(Asked.BOT, code=code, status=answer.status)
        if (code or answer.status != 200) and failure.status >= 500:
            if failure is TOKEN_REFUSED:
                self._token.refused()
            raise ServiceError(failure, code=code, cause=f"HTTP {answer.status} to a chat", logid=answer.logid)

    async def workspaces(self) -> list[Workspace]:
        """All workspaces, from all pages, each once. Raises ServiceError."""
        async with time_limit(self._settings.coze_request_timeout):
            return await self._all_pages()

    async def _all_pages(self) -> list[Workspace]:
        found: dict[str, Workspace] = {}
        for number in range(1, BOUNDS.workspaces_pages + 1):
            page, _ = await self._call(
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
            # Coze's total is not to be trusted: a page that is not full, or brings nothing new, is the last one too.
            if seen_all or len(rows) < BOUNDS.workspaces_page or len(found) == known:
                break
        return list(found.values())

    async def _cancel(self, conversation_id: str, chat_id: str) -> None:
        """Cancels a chat that was left. It is the last that is done for it, so a failure is only reported."""
        try:
            # To cancel twice does no harm.
            ids = {"conversation_id": conversation_id, "chat_id": chat_id}
            answer, body = await self._exchange("POST", "/v3/chat/cancel", repeatable=True, json=ids)
            try:
                code = wire.decode_answer(body).code
            except wire.UNDECODABLE:
                code = None
            self._observer.cancelled(answer, code)
        except ServiceError as error:
            self._observer.not_cancelled(error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)

    async def _make(self, method: str, path: str, **parts: Any) -> HTTPRequest[Any]:
        return await self._requester.amake_request(method, self._settings.coze_api_base + path, **parts)

    async def _exchange(
        self, method: str, path: str, *, repeatable: bool, timeout: float | None = None, **parts: Any
    ) -> tuple[Answer, bytes]:
        async with time_limit(timeout or self._settings.coze_request_timeout):
            return await self._transport.exchange(await self._make(method, path, **parts), repeatable=repeatable)

    async def _call(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], T],
        *,
        asked: Asked = Asked.NOTHING,
        timeout: float | None = None,
        **parts: Any,
    ) -> tuple[T, str | None]:
        """One call that Coze answers with its JSON envelope: the decoded `data` and the logid. Raises ServiceError."""
        answer, body = await self._exchange(method, path, repeatable=method == "GET", timeout=timeout, **parts)
        logid = answer.logid
        try:
            said = wire.decode_answer(body)
        except wire.UNDECODABLE:
            if answer.status == 200:
                raise ServiceError(NOT_UNDERSTOOD, cause="an answer that is no JSON object", logid=logid) from None
            said = wire.Answer()
        if said.detail and said.detail.logid and not logid:
            logid = said.detail.logid
        if said.code or answer.status != 200:
            # Every server takes files.
            if asked is not Asked.FILE and _is_absent(answer.status, said):
                raise ServiceError(ABSENT, code=said.code, cause=f"{path} is absent", logid=logid)
            failure = coze_failure(asked, code=said.code or None, status=answer.status)
            if failure is TOKEN_REFUSED:
                self._token.refused()
            raise ServiceError(
                failure,
                code=said.code,
                cause=f"HTTP {answer.status}",
                logid=logid,
                retry_after=answer.retry_after,
            )
        try:
            return decode(said.data), logid
        except wire.UNDECODABLE:
            raise ServiceError(NOT_UNDERSTOOD, cause="an answer with other data", logid=logid) from None


def _is_absent(status: int, said: wire.Answer) -> bool:
    """Coze Studio's ways to say that it has no such endpoint."""
    if _STUDIO_NO_SESSION in str(said.msg):
        return True
    return status == 404 and said.code == 404


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
