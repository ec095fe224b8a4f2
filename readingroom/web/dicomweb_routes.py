"""DICOMweb over HTTP: STOW-RS, QIDO-RS, WADO-RS (PS3.18). Thin: each route reads its request and calls the archive.

Mounted at ``/dicomweb`` on both listeners. Query strings hold patients' names and are never logged.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from readingroom.access.actor import Actor
from readingroom.archive import qido, stow, wado
from readingroom.archive.accept import Accepted, covers, parse_accept, wants_json
from readingroom.archive.attributes import Level
from readingroom.archive.filing import filing_of_actor
from readingroom.archive.multipart import Writer, boundary_of
from readingroom.archive.receive import Archive
from readingroom.archive.rendered import IMAGE_TYPES, render, window_of
from readingroom.core.audit import AuditCode, record
from readingroom.core.permissions import Permission
from readingroom.web.permissions import requires

DICOM_JSON = "application/dicom+json"
PREFIX = "/dicomweb"

Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
# Pixels too: they would outlive the session in the browser's cache, and the viewers keep theirs in memory.
_PRIVATE = {"Cache-Control": "private, no-store"}


def router(archive: Archive) -> APIRouter:
    """Return the routes over one archive."""
    routes = APIRouter(max_body_size=archive.settings.max_upload_bytes)
    _add_search(routes, archive)
    _add_store(routes, archive)
    _add_metadata(routes, archive)
    _add_retrieve(routes, archive)
    _add_images(routes, archive)
    return routes


def _add_search(routes: APIRouter, archive: Archive) -> None:
    querying = Depends(requires(Permission.STUDY_QUERY))

    def answer(request: Request, actor: Actor, level: Level, **within: str) -> Response:
        query = qido.parse(level, within, request.query_params.multi_items())
        if not wants_json(_forms(request)):
            return _not_acceptable(f"Results come as {DICOM_JSON}.")
        found = qido.search(archive, query, _base(request), actor)
        # A query's string is kept nowhere: what was asked for is told by the names of its keys alone.
        detail = {"level": level, "keys": query.keys, "found": found.count}
        with archive.database.write() as session:
            record(session, AuditCode.QUERY, "qido", actor.name, detail=detail)
        headers = dict(_PRIVATE)
        if found.warnings:
            headers["Warning"] = ", ".join(f'299 readingroom "{text}"' for text in found.warnings)
        if found.count == 0:
            return Response(status_code=204, headers=headers)
        return Response(found.body, media_type=DICOM_JSON, headers=headers)

    @routes.get("/studies")
    def studies(request: Request, actor: Actor = querying) -> Response:
        return answer(request, actor, "study")

    @routes.get("/series")
    def series(request: Request, actor: Actor = querying) -> Response:
        return answer(request, actor, "series")

    @routes.get("/instances")
    def instances(request: Request, actor: Actor = querying) -> Response:
        return answer(request, actor, "instance")

    @routes.get("/studies/{study}/series")
    def series_of_study(request: Request, study: Uid, actor: Actor = querying) -> Response:
        return answer(request, actor, "series", StudyInstanceUID=study)

    @routes.get("/studies/{study}/instances")
    def instances_of_study(request: Request, study: Uid, actor: Actor = querying) -> Response:
        return answer(request, actor, "instance", StudyInstanceUID=study)

    @routes.get("/studies/{study}/series/{series}/instances")
    def instances_of_series(request: Request, study: Uid, series: Uid, actor: Actor = querying) -> Response:
        return answer(request, actor, "instance", StudyInstanceUID=study, SeriesInstanceUID=series)


def _add_store(routes: APIRouter, archive: Archive) -> None:
    storing = Depends(requires(Permission.STUDY_STORE))

    async def take(request: Request, actor: Actor, study: str = "") -> Response:
        boundary = boundary_of(request.headers.get("content-type", ""))
        upload = stow.Upload(archive, boundary, f"stow:{actor.name}", filing_of_actor(actor), study)
        try:
            async for chunk in request.stream():
                if chunk:
                    await run_in_threadpool(upload.feed, chunk)
            await run_in_threadpool(upload.finish)
        finally:
            upload.close()
            # Also where it broke off: what was stored before that stays.
            await run_in_threadpool(_audit_store, archive, actor, upload)
        status, body = await run_in_threadpool(stow.answer, upload, _base(request))
        return Response(body, status, media_type=DICOM_JSON, headers=_PRIVATE)

    @routes.post("/studies")
    async def store(request: Request, actor: Actor = storing) -> Response:
        return await take(request, actor)

    @routes.post("/studies/{study}")
    async def store_in_study(request: Request, study: Uid, actor: Actor = storing) -> Response:
        return await take(request, actor, study)


def _audit_store(archive: Archive, actor: Actor, upload: stow.Upload) -> None:
    by_study = Counter(received.study_id if received.ok else None for received in upload.results)
    with archive.database.write() as session:
        for study_id, count in by_study.items():
            outcome = "success" if study_id else "refused"
            record(
                session,
                AuditCode.INSTANCES_TRANSFERRED,
                "stow",
                actor.name,
                study_id=study_id,
                outcome=outcome,
                detail={"instances": count},
            )


def _add_metadata(routes: APIRouter, archive: Archive) -> None:
    allowed = [Depends(requires(Permission.STUDY_READ))]

    def answer(request: Request, *uids: str) -> Response:
        if not wants_json(_forms(request)):
            return _not_acceptable(f"Metadata come as {DICOM_JSON}.")
        found = wado.find(archive, *uids)
        chunks = wado.metadata(archive, found, _base(request))
        if len(found) <= 100:
            return Response(b"".join(chunks), media_type=DICOM_JSON, headers=_PRIVATE)
        return StreamingResponse(chunks, media_type=DICOM_JSON, headers=_PRIVATE)

    @routes.get("/studies/{study}/metadata", dependencies=allowed)
    def study_metadata(request: Request, study: Uid) -> Response:
        return answer(request, study)

    @routes.get("/studies/{study}/series/{series}/metadata", dependencies=allowed)
    def series_metadata(request: Request, study: Uid, series: Uid) -> Response:
        return answer(request, study, series)

    @routes.get("/studies/{study}/series/{series}/instances/{instance}/metadata", dependencies=allowed)
    def instance_metadata(request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        return answer(request, study, series, instance)


def _add_retrieve(routes: APIRouter, archive: Archive) -> None:
    allowed = [Depends(requires(Permission.STUDY_READ))]

    def answer(request: Request, *uids: str) -> Response:
        found = wado.find(archive, *uids)
        forms = _forms(request)

        def send() -> Response:
            syntaxes = [wado.instance_syntax(instance, forms) for instance in found]
            if len(found) == 1 and not _any_multipart(forms, "application/dicom"):
                data: Iterable[bytes] = wado.stream_file(archive, found[0])
                length = found[0].size
                if syntaxes[0] != found[0].TransferSyntaxUID:
                    data = [wado.to_explicit_little(archive, found[0])]
                    length = len(data[0])
                headers = {"Content-Length": str(length), **_PRIVATE}
                return StreamingResponse(data, media_type="application/dicom", headers=headers)
            stream = wado.stream_instances(archive, found, syntaxes, _base(request))
            headers = {"Content-Type": stream.content_type, **_PRIVATE}
            if stream.length is not None:
                headers["Content-Length"] = str(stream.length)
            return StreamingResponse(stream.chunks, headers=headers)

        return _acceptably(send)

    @routes.get("/studies/{study}", dependencies=allowed)
    def study(request: Request, study: Uid) -> Response:
        return answer(request, study)

    @routes.get("/studies/{study}/series/{series}", dependencies=allowed)
    def series(request: Request, study: Uid, series: Uid) -> Response:
        return answer(request, study, series)

    @routes.get("/studies/{study}/series/{series}/instances/{instance}", dependencies=allowed)
    def instance(request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        return answer(request, study, series, instance)


def _add_images(routes: APIRouter, archive: Archive) -> None:
    allowed = [Depends(requires(Permission.STUDY_READ))]
    at_instance = "/studies/{study}/series/{series}/instances/{instance}"

    @routes.get(at_instance + "/frames/{numbers}", dependencies=allowed)
    def frames(request: Request, study: Uid, series: Uid, instance: Uid, numbers: str) -> Response:
        found = wado.find(archive, study, series, instance)[0]
        wanted = wado.frame_numbers(numbers)
        forms = _forms(request)
        return _acceptably(lambda: _parts(wado.frames(archive, found, wanted, forms), forms))

    @routes.get(at_instance + "/bulkdata/{name}", dependencies=allowed)
    def bulk_data(request: Request, study: Uid, series: Uid, instance: Uid, name: str) -> Response:
        found = wado.find(archive, study, series, instance)[0]
        forms = _forms(request)
        return _acceptably(lambda: _parts(wado.bulk_data(archive, found, name, forms), forms))

    def picture(request: Request, numbers: str, thumbnail: bool, *uids: str) -> Response:
        instances = wado.find(archive, *uids)
        found = instances[len(instances) // 2]
        frame = wado.frame_numbers(numbers)[0] if numbers else 1
        parameters = request.query_params
        media_type = _image_type(_forms(request))
        if media_type is None:
            return _not_acceptable("Rendered images come as image/jpeg or image/png.")
        data = render(
            archive,
            found,
            frame,
            media_type,
            window=window_of(parameters.get("window", "")),
            viewport=parameters.get("viewport", ""),
            thumbnail=thumbnail,
        )
        return Response(data, media_type=media_type, headers=_PRIVATE)

    @routes.get(at_instance + "/rendered", dependencies=allowed)
    def rendered(request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        return picture(request, "", False, study, series, instance)

    @routes.get(at_instance + "/frames/{numbers}/rendered", dependencies=allowed)
    def rendered_frame(request: Request, study: Uid, series: Uid, instance: Uid, numbers: str) -> Response:
        return picture(request, numbers, False, study, series, instance)

    @routes.get(at_instance + "/frames/{numbers}/thumbnail", dependencies=allowed)
    def frame_thumbnail(request: Request, study: Uid, series: Uid, instance: Uid, numbers: str) -> Response:
        return picture(request, numbers, True, study, series, instance)

    @routes.get(at_instance + "/thumbnail", dependencies=allowed)
    def instance_thumbnail(request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        return picture(request, "", True, study, series, instance)

    @routes.get("/studies/{study}/series/{series}/thumbnail", dependencies=allowed)
    def series_thumbnail(request: Request, study: Uid, series: Uid) -> Response:
        return picture(request, "", True, study, series)

    @routes.get("/studies/{study}/thumbnail", dependencies=allowed)
    def study_thumbnail(request: Request, study: Uid) -> Response:
        return picture(request, "", True, study)


def _parts(parts: list[wado.Part], forms: list[Accepted]) -> Response:
    """Several parts, or one for a client that takes multipart, in one body; a single part as it is otherwise."""
    media_type = parts[0].media_type
    if len(parts) == 1 and not _any_multipart(forms, media_type.split(";")[0]):
        return Response(parts[0].data, headers={"Content-Type": media_type, **_PRIVATE})
    writer = Writer(media_type.split(";")[0])
    pieces: list[bytes] = []
    for number, part in enumerate(parts):
        pieces += [writer.head(part.media_type, len(part.data), first=number == 0), part.data]
    pieces.append(writer.tail())
    return Response(b"".join(pieces), headers={"Content-Type": writer.content_type, **_PRIVATE})


def _any_multipart(forms: list[Accepted], media_type: str) -> bool:
    """Whether to answer in parts: the client said so, or said nothing at all about the form."""
    single = any(not a.multipart and a.media_type == media_type for a in forms)
    return any(a.multipart for a in forms) or not single


def _image_type(forms: list[Accepted]) -> str | None:
    for accepted in forms:
        for media_type in IMAGE_TYPES:
            if covers(accepted, media_type):
                return media_type
    return None


def _forms(request: Request) -> list[Accepted]:
    # The query parameter is for clients that cannot set a header, and goes first (PS3.18 8.3.3.1).
    return parse_accept(request.query_params.get("accept") or request.headers.get("accept", ""))


def _acceptably(make: Callable[[], Response]) -> Response:
    try:
        return make()
    except wado.NotAcceptable as error:
        return _not_acceptable(error.message)


def _not_acceptable(message: str) -> Response:
    return Response(message, 406, media_type="text/plain")


def _base(request: Request) -> str:
    """Return the address of DICOMweb as the client reached it."""
    url = request.base_url
    server = request.scope.get("server")
    forwarded = {"forwarded", "via", "x-forwarded-for", "x-forwarded-host"} & set(request.headers)
    if url.port is None and server and server[1] not in (None, 80, 443) and not forwarded:
        # dicomweb-client leaves the port out of its Host header.
        url = url.replace(port=server[1])
    return str(url).rstrip("/") + PREFIX
