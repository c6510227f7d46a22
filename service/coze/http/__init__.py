"""HTTP with Coze, from the socket up: nothing in here knows what a chat is."""

from service.coze.http.exchange import Exchange, Receiver
from service.coze.http.reader import Answer
from service.coze.http.route import Route, route_to_coze
from service.coze.http.transport import Trace, Transport, time_limit

__all__ = ["Answer", "Exchange", "Receiver", "Route", "Trace", "Transport", "route_to_coze", "time_limit"]
