"""The operations of openapi.yaml: one controller for each of its tags."""

from service.controllers.answers import AnswersController
from service.controllers.bots import BotsController
from service.controllers.chat import ChatController
from service.controllers.conversations import ConversationsController
from service.controllers.files import FilesController
from service.controllers.health import HealthController
from service.controllers.openai import OpenAIController
from service.controllers.system import SystemController
from service.controllers.users import UsersController
from service.controllers.visitors import VisitorsController
from service.controllers.workspaces import WorkspacesController

CONTROLLERS = [
    HealthController,
    ChatController,
    BotsController,
    AnswersController,
    FilesController,
    ConversationsController,
    UsersController,
    VisitorsController,
    WorkspacesController,
    OpenAIController,
    SystemController,
]
