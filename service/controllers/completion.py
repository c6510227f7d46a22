"""The messages of a chat completion as those of a chat: roles, texts, and the files in them, which are uploaded."""

import mimetypes
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Literal, NamedTuple

import msgspec

from generated.models import (
    AudioPart,
    ChatCompletionMessage,
    ChatMessage,
    FilePart,
    ImagePart,
    ImageUrlPart,
    InputAudioPart,
    InputFile,
    InputFilePart,
    RefusalPart,
    TextPart,
)
from service.coze import since_last_answer
from service.errors import BAD_REQUEST, ServiceError
from service.files.names import file_name
from service.http.form import UploadForm

_Role = Literal["system", "developer", "user", "assistant"]
_NamedPart = ImagePart | AudioPart | FilePart
_DATA_URL = re.compile(r"data:([^,;]*)(;[^,]*)?,", re.IGNORECASE)
# Endings by which Coze knows the pictures that it takes.
_PICTURES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/tiff": ".tiff",
}


class _Inline(NamedTuple):
    """A file that came within a message, and the part that is to name it."""

    part: _NamedPart
    name: str
    media_type: str


class CompletionMessages:
    """The messages of a chat completion. Raises ServiceError (400) for what a chat cannot take.

    With `continued`, in a conversation that Coze knows, files from before the last answer are not looked at.
    """

    def __init__(self, asked: list[ChatCompletionMessage], *, continued: bool, most_files: int) -> None:
        said = [message for message in asked if message.content]
        self._inline: list[_Inline] = []
        self._encoded: deque[str] = deque()  # the bytes of these, until they are spooled
        self._messages = [
            (message.role, self._content(message)) for message in (since_last_answer(said) if continued else said)
        ]
        if len(self._inline) > most_files:
            raise ServiceError(BAD_REQUEST, f"The request has more than {most_files} files in it.")

    @property
    def has_files(self) -> bool:
        """Whether files are to be uploaded."""
        return bool(self._inline)

    @asynccontextmanager
    async def spooled(self) -> AsyncIterator[list[UploadForm]]:
        """Yields the files that are to be uploaded, in order, and keeps nothing of them in memory.

        Raises ServiceError (400, 413, 503).
        """
        async with AsyncExitStack() as stack:
            files = [UploadForm(inline.name, inline.media_type) for inline in self._inline]
            forms = [stack.enter_context(closing(file)) for file in files]
            for form in forms:
                await form.decode(self._encoded.popleft())
            yield forms

    def name_files(self, file_ids: list[str]) -> None:
        """Takes the ids of the files that were uploaded, in order."""
        for inline, file_id in zip(self._inline, file_ids, strict=True):
            inline.part.file_id = file_id

    def for_chat(self) -> list[ChatMessage]:
        """Returns the messages of the chat."""
        return [_message(role, content) for role, content in self._messages]

    def _content(self, message: ChatCompletionMessage) -> str | list[TextPart | _NamedPart]:
        """Returns a text, or parts of which one at most is a text, as Coze wants them."""
        if isinstance(message.content, str):
            return message.content
        texts: list[str] = []
        parts: list[TextPart | _NamedPart] = []
        for part in message.content or ():
            match part:
                case TextPart():
                    texts.append(part.text)
                case RefusalPart():
                    texts.append(part.refusal)
                case ImageUrlPart():
                    parts.append(self._picture(part.image_url.url))
                case InputAudioPart(input_audio=audio):
                    parts.append(self._add(AudioPart(), f"audio.{audio.format}", f"audio/{audio.format}", audio.data))
                case InputFilePart():
                    parts.append(self._file(part.file))
        text = "\n".join(texts)
        if not parts:
            return text
        return [TextPart(text=text), *parts] if text else parts

    def _picture(self, url: str) -> _NamedPart:
        media_type, base64 = _of_data_url(url)
        if base64 is None:
            if not re.match(r"https?://[^/]", url, re.IGNORECASE):
                raise ServiceError(BAD_REQUEST, "An image_url must be an http, https or data: URL.")
            return ImagePart(file_url=url)
        if media_type not in _PICTURES:
            raise ServiceError(BAD_REQUEST, f"The data: URL of an image_url must be one of {', '.join(_PICTURES)}.")
        return self._add(ImagePart(), f"image{_PICTURES[media_type]}", media_type, base64)

    def _file(self, file: InputFile) -> _NamedPart:
        if file.file_id:
            return FilePart(file_id=file.file_id)
        if not file.file_data:
            raise ServiceError(BAD_REQUEST, "A file needs a file_id or file_data.")
        media_type, base64 = _of_data_url(file.file_data)
        name = file_name({"filename": (file.filename or "").encode(errors="replace")})
        if name is None:
            name = "file" + (mimetypes.guess_extension(media_type) or "")
        encoded = file.file_data if base64 is None else base64
        return self._add(FilePart(), name, media_type or "application/octet-stream", encoded)

    def _add(self, part: _NamedPart, name: str, media_type: str, encoded: str) -> _NamedPart:
        self._inline.append(_Inline(part, name, media_type))
        self._encoded.append(encoded)
        return part


def _of_data_url(url: str) -> tuple[str, str | None]:
    """Returns the media type and the base64 of a `data:` URL (RFC 2397); None for the latter if it is another URL.

    Raises ServiceError (400) if it is not in base64.
    """
    head = _DATA_URL.match(url)
    if head is None:
        return "", None
    if not (head[2] or "").lower().endswith(";base64"):
        raise ServiceError(BAD_REQUEST, "A data: URL must be in base64.")
    return head[1].strip().lower(), url[head.end() :]


def _message(role: _Role, content: str | list[TextPart | _NamedPart]) -> ChatMessage:
    known: Literal["system", "user", "assistant"] = "system" if role == "developer" else role
    if isinstance(content, str):
        return ChatMessage(role=known, content=content)
    return ChatMessage(role=known, content=msgspec.json.encode(content).decode(), content_type="object_string")
