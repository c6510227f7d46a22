"""Answers that outlive their connection: kept from their first event on, so that anybody may follow from anywhere."""

from service.kept.answer import KeptAnswer, Status
from service.kept.answers import KeptAnswers, place
from service.kept.following import FollowedStream
from service.kept.reading import read

__all__ = ["FollowedStream", "KeptAnswer", "KeptAnswers", "Status", "place", "read"]
