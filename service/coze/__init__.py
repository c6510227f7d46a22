"""The Coze side: the only part of the service that knows Coze's SDK and Coze's wire."""

from service.coze.chat import Chat
from service.coze.client import Coze, Upload
from service.coze.conversations import Said
from service.coze.http import Answer, Route, route_to_coze
from service.coze.question import file_ids, since_last_answer, words
from service.coze.translation import ChatEvent

__all__ = [
    "Answer",
    "Chat",
    "ChatEvent",
    "Coze",
    "Route",
    "Said",
    "Upload",
    "file_ids",
    "route_to_coze",
    "since_last_answer",
    "words",
]
