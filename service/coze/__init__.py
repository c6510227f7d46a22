"""The Coze side: the only part of the service that knows Coze's SDK and Coze's wire."""

from service.coze.chat import Chat
from service.coze.client import Coze, Upload
from service.coze.translation import ChatEvent
from service.coze.transport import logid_of

__all__ = ["Chat", "ChatEvent", "Coze", "Upload", "logid_of"]
