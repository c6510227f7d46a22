"""Tag Files: upload files that a chat can then refer to."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from msgspec import UNSET

from generated.models import UploadResponse
from service.errors import UPLOAD_PATH
from service.form import read_upload
from service.leaving import unless_client_leaves
from service.parts import Parts


class FilesController(Controller):
    path = UPLOAD_PATH

    @post(operation_id="uploadFile", status_code=200)
    async def upload_file(self, request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> UploadResponse:
        async with read_upload(request, timeout=parts.settings.request_body_timeout) as form:
            file_id, file_url = await unless_client_leaves(request.receive, parts.coze.upload(form.upload))
        return UploadResponse(
            success=True,
            message="File uploaded successfully",
            file_id=file_id,
            file_url=file_url,
            file_name=form.upload.name,
            bytes=form.size,
            description=UNSET if form.description is None else form.description,
        )
