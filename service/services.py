"""The dependencies of the controllers, one set for each process."""

from dataclasses import dataclass

from service.coze import Coze
from service.files import Files
from service.http.body import BodyMemory
from service.http.form import Uploads
from service.kept import KeptAnswers
from service.ownership import Ownership
from service.readiness import Readiness
from service.settings import Settings
from service.users.visitors import SharedVisitors


@dataclass(frozen=True, slots=True)
class Services:
    """A single dependency: Litestar resolves several in a task group, which costs a tenth of a chat."""

    settings: Settings
    coze: Coze
    readiness: Readiness
    files: Files
    body_memory: BodyMemory
    uploads: Uploads
    ownership: Ownership
    answers: KeptAnswers
    visitors: SharedVisitors | None
