"""The services of one process that controllers use."""

from dataclasses import dataclass

from service.coze import Coze
from service.files import Files
from service.http.body import BodyMemory
from service.http.form import Uploads
from service.readiness import Readiness
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """One dependency for all of it: Litestar resolves several at once in a task group, a tenth of a chat's cost."""

    settings: Settings
    coze: Coze
    readiness: Readiness
    files: Files
    body_memory: BodyMemory
    uploads: Uploads
