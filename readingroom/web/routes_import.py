"""Bringing files in through the pages: DICOM files or a zip, as ``readingroom import`` does."""

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from readingroom.access.actor import Actor
from readingroom.archive.filing import Filing, filing_of_actor
from readingroom.archive.importer import import_path
from readingroom.archive.receive import Archive
from readingroom.core.errors import BadInput, OutOfResources
from readingroom.core.permissions import Permission
from readingroom.web.permissions import requires

CHUNK = 1 << 20


def router(max_upload_bytes: int) -> APIRouter:
    """Return the route; it alone takes bodies as large as a study."""
    routes = APIRouter(max_body_size=max_upload_bytes)

    @routes.get("/import")
    def places(actor: Annotated[Actor, Depends(requires(Permission.STUDY_STORE))]) -> dict[str, Any]:
        """The projects that what is brought in may go to, the one it goes to unless told otherwise first."""
        mine = actor.projects_for(Permission.STUDY_STORE)
        chosen = filing_of_actor(actor).project_id if mine else 0
        return {"projects": [actor.projects[key].name for key in sorted(mine, key=lambda key: key != chosen)]}

    @routes.post("/import")
    async def import_files(
        request: Request, actor: Annotated[Actor, Depends(requires(Permission.STUDY_STORE))]
    ) -> dict[str, Any]:
        # Read only here, where it is known that they may: nobody else puts a byte of a body onto our disk.
        try:
            async with request.form() as form:
                uploads = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
                if not uploads:
                    raise BadInput("There is no file in the upload.", "Send one or more as 'file'.")
                project = form.get("project", "")
                filing = filing_of_actor(actor, project if isinstance(project, str) else "")
                return await run_in_threadpool(_take_in, request.app.state.archive, uploads, filing, actor.name)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OutOfResources("The disk is full.", "Free space, then send it again.") from None

    return routes


def _take_in(archive: Archive, uploads: list[UploadFile], filing: Filing, actor: str) -> dict[str, Any]:
    folder = archive.settings.work_folder
    folder.mkdir(parents=True, exist_ok=True)
    accepted = duplicates = corrected = 0
    problems: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory(prefix="upload-", dir=folder) as scratch:
        for number, upload in enumerate(uploads):
            # A name from outside may be a patient's, and may be a path: it is not used.
            path = Path(scratch) / f"{number:06}"
            with path.open("wb") as target:
                shutil.copyfileobj(upload.file, target, CHUNK)
            summary = import_path(archive, path, filing=filing, actor=actor)
            path.unlink()
            accepted += summary.accepted
            duplicates += summary.duplicates
            corrected += summary.corrected
            problems += summary.problems
    quarantined = [{"name_hash": name, "code": code, "reason": reason} for name, code, reason in problems]
    return {"accepted": accepted, "duplicates": duplicates, "corrected": corrected, "quarantined": quarantined}
