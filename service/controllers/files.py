"""Tag Files: uploading files for chats, and reading uploaded ones."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import UNSET

from generated.models import UploadResponse
from service.answers.file import FileAnswer
from service.controllers.parameters import Parameters
from service.errors import NOT_FOUND, UPLOAD_PATH, ServiceError
from service.files.links import FILES_PATH, base_url
from service.http.connection import connection_of, unless_client_leaves
from service.http.form import UploadForm
from service.pages.handlers import get
from service.services import Services
from service.users.caller import Principal, caller_of, user_of

_UPLOAD = Parameters("post", UPLOAD_PATH)


class FilesController(Controller):
    path = "/"

    @post(UPLOAD_PATH, operation_id="uploadFile", status_code=200)
    async def upload_file(self, request: Request[Any, Any, Any], services: NamedDependency[Services]) -> UploadResponse:
        caller, named = caller_of(request.scope), _UPLOAD.text(request, "user_id")
        user = user_of(caller, named) if named is not None or caller.user_id is not None else None
        async with services.uploads.read(request) as form:
            file_id, file_url = await uploaded(form, user, request, services, shown=True)
        return UploadResponse(
            success=True,
            message="File uploaded successfully",
            file_id=file_id,
            file_url=file_url,
            file_name=form.upload.name,
            bytes=form.size,
            description=UNSET if form.description is None else form.description,
        )

    @get(FILES_PATH + "{link:str}", operation_id="getFile")
    async def get_file(
        self, request: Request[Any, Any, Any], services: NamedDependency[Services], link: FromPath[str]
    ) -> ASGIApp:
        file = await services.files.open(link)
        if file is None:
            raise ServiceError(NOT_FOUND, "There is no such file, or its link is no longer valid.")
        return FileAnswer(file, request.headers)


async def uploaded(
    form: UploadForm, user: Principal | None, request: Request[Any, Any, Any], services: Services, *, shown: bool
) -> tuple[str, str | None]:
    """Uploads a file, keeps it if it is to be shown, and records whose it is. Returns its id and its address."""
    upload = form.upload
    file_id, file_url = await unless_client_leaves(connection_of(request.scope), services.coze.upload(upload))
    kept = None
    if shown and file_url is None:
        base = base_url(request.scope["scheme"], request.headers, services.settings.public_base_url)
        kept = await services.files.keep(upload.file, form.size, upload.name, base)
    if user is not None:
        await services.ownership.record_file(user, file_id, upload.name, kept.stored_name if kept else "")
    return file_id, kept.url if kept else file_url
