"""Tag OpenAI: the same chats in OpenAI's form, for clients that are made for it."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp, Scope
from msgspec import UNSET

from generated.models import ChatCompletionRequest, ChatModel, ChatModelList, ChatRequest
from service.answers.openai import CompletionForm
from service.contract import contract
from service.controllers.completion import CompletionMessages
from service.controllers.files import uploaded
from service.controllers.json_body import JsonBody
from service.controllers.turn import Turn, answered
from service.coze import Chat, file_ids, words
from service.http.connection import connection_of, unless_client_leaves
from service.observe.record import record_of
from service.ownership import name_of
from service.pages.handlers import get
from service.services import Services
from service.users.caller import Principal, caller_of, stand_in, user_of

_PATH = "/openai/v1"
_CHAT = f"{_PATH}/chat/completions"
_BODY = JsonBody("post", _CHAT, ChatCompletionRequest)
_MOST_FILES = int(contract().document["paths"][_CHAT]["post"]["x-max-files"])
_FINGERPRINT = f"coze-service-{contract().version}"


class OpenAIController(Controller):
    path = _PATH

    @post("/chat/completions", operation_id="createChatCompletion", status_code=200)
    async def create_chat_completion(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services]
    ) -> ASGIApp:
        # In a call of its own, so that nothing of the request is held while it is answered.
        chat, turn, form = await _begin(request, services)
        stream = record_of(request.scope).mode == "stream"
        return await answered(request.scope, services, chat, turn, form, stream=stream)

    @get("/models", operation_id="listModels")
    async def list_models(self, services: NamedDependency[Services]) -> ChatModelList:
        return ChatModelList(object="list", data=[_model(name) for name in services.coze.bots.models])

    @get("/models/{model:str}", operation_id="getModel")
    async def get_model(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], model: FromPath[str]
    ) -> ChatModel:
        bot_id = services.coze.bots.of_model(model)
        if bot_id is not None and bot_id not in services.coze.bots.configured:
            await unless_client_leaves(connection_of(request.scope), services.coze.profiles.details(bot_id))
        return _model(model)


async def _begin(request: Request[Any, Any, Any], services: Services) -> tuple[Chat, Turn, CompletionForm]:
    """Reads a request, and begins its chat. Raises ServiceError."""
    asked, _ = await _BODY.read(request, services)
    user, record = _user(request.scope, asked.user or None), record_of(request.scope)
    bot_id = services.coze.bots.of_model(asked.model)
    conversation_id = asked.conversation_id or (asked.metadata and asked.metadata.conversation_id) or None
    messages = CompletionMessages(asked.messages, continued=conversation_id is not None, most_files=_MOST_FILES)
    record.mode = "stream" if asked.stream else "json"
    options = asked.stream_options or None
    include_usage = bool(options and options.include_usage)
    model = asked.model
    del asked, _
    chat = ChatRequest(
        bot_id=bot_id or UNSET,
        user_id=user.user_id,
        conversation_id=conversation_id or UNSET,
        messages=messages.for_chat(),
    )
    await services.ownership.check_chat(user, conversation_id, file_ids(chat))
    if messages.has_files:
        with services.uploads.place():
            async with messages.spooled() as forms:
                # Only the list of a user's messages can show a file.
                found = [await uploaded(form, user, request, services, shown=user.owned) for form in forms]
            messages.name_files([file_id for file_id, _ in found])
        chat.messages = messages.for_chat()
    turn = Turn(user, services.coze.bots.id_of(bot_id), name_of(words(chat)) if user.owned else "")
    form = CompletionForm(model, _FINGERPRINT, record.request_id, include_usage=include_usage)
    return services.coze.chat(chat), turn, form


def _user(scope: Scope, named: str | None) -> Principal:
    """Returns the user of a request that names `named`, or names none. Raises ServiceError: 403 as `user_of`."""
    caller = caller_of(scope)
    return user_of(caller, named or (stand_in(scope) if caller.user_id is None else None))


def _model(name: str) -> ChatModel:
    return ChatModel(id=name, object="model", created=0, owned_by="coze")
