"""The Coze side: the only part of the service that knows Coze's SDK and Coze's wire."""

from service.coze.chat import Chat
from service.coze.client import Coze, Upload
from service.coze.exchange import Answer
from service.coze.translation import ChatEvent

__all__ = ["Answer", "Chat", "ChatEvent", "Coze", "Upload"]
