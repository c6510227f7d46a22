"""HTTP with Coze, from the socket up: nothing in here knows what a chat is."""

from service.coze.http.exchange import Exchange, Receiver
from service.coze.http.observer import CallObserver
from service.coze.http.reader import Answer
from service.coze.http.route import Route, route_to, route_to_coze
from service.coze.http.transport import Transport, time_limit

__all__ = [
    "Answer",
    "Call",
    "CallObserver",
    "Exchange",
    "Receiver",
    "Route",
    "Transport",
    "route_to",
    "route_to_coze",
    "time_limit",
]
