"""Answers that outlive their connection: kept from their first event on, so that anybody may follow from anywhere.

asked.py        what a client asks for
answer.py       one answer, and its followers
entry.py        the same with what a process knows of it, and whose it is
answers.py      all that this process keeps
reading.py      a chat read into an answer
following.py    an answer written to a client
published.py    an answer as processes tell each other about it
shared.py       answers that several processes share, on a server
store_watch.py  whether that server answers
rescue.py       the rest of an answer whose reader has died
"""

from service.kept.answer import KeptAnswer, Status
from service.kept.answers import KeptAnswers
from service.kept.asked import Question, place
from service.kept.following import FollowedStream
from service.kept.shared import Shared

__all__ = ["FollowedStream", "KeptAnswer", "KeptAnswers", "Question", "Shared", "Status", "place"]
