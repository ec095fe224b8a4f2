"""The full viewer, OHIF, on a listener of its own: one origin with ``/dicomweb``, no request to anywhere else.

Its configuration is made here. Its pages ask for the same session as ours; who has none is sent to our sign-in page.
"""

import base64
import hashlib
import json
import re

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from readingroom import RESEARCH_NOTICE
from readingroom.archive.tables import Study
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.permissions import Permission
from readingroom.web import errors
from readingroom.web.addresses import main_url
from readingroom.web.permissions import NotSignedIn, requires
from readingroom.web.static_files import FOLDER, StaticFolder

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)

_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "readingroom",
    "configuration": {
        "friendlyName": "Reading Room",
        "name": "readingroom",
        "wadoUriRoot": "/dicomweb",
        "qidoRoot": "/dicomweb",
        "wadoRoot": "/dicomweb",
        "qidoSupportsIncludeField": True,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "staticWado": False,
        "singlepart": "bulkdata,video",
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        "omitQuotationForMultipartRequest": True,
    },
}
CONFIGURATION = {
    "name": "readingroom",
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    # Its tour would stand before the first image.
    "customizationService": [{"ohif.tours": {"$set": []}}],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "showErrorDetails": "dev",
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "readingroom",
    "dataSources": [_SOURCE],
}
# OHIF's own notice can be put away for days; ours stays. CSSOM rather than a style attribute: the policy is strict.
_BANNER = """
(function () {
  function show() {
    var banner = document.createElement("div");
    banner.textContent = %s;
    banner.setAttribute("role", "note");
    var style = banner.style;
    style.position = "fixed"; style.bottom = "0"; style.left = "0"; style.right = "0"; style.zIndex = "9999";
    style.pointerEvents = "none"; style.textAlign = "center"; style.font = "12px sans-serif"; style.padding = "2px";
    style.background = "#7a4b00"; style.color = "#ffffff";
    document.body.appendChild(banner);
  }
  if (document.body) show(); else document.addEventListener("DOMContentLoaded", show);
})();
"""


def configuration_script() -> str:
    """Return ``app-config.js``: the viewer's configuration and the research-use banner."""
    return f"window.config = {json.dumps(CONFIGURATION)};\n" + _BANNER % json.dumps(RESEARCH_NOTICE)


def policy() -> str:
    """Return the viewer's Content-Security-Policy, with the hashes of the scripts its index page has inline."""
    index = FOLDER / "viewer" / "index.html"
    inline = _SCRIPT.findall(index.read_text("utf-8")) if index.is_file() else []
    hashes = "".join(f" 'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline)
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{hashes}; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' blob: data:; media-src 'self' blob:; manifest-src 'self'; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )


def router(settings: Settings) -> APIRouter:
    """Return the viewer's routes; include it last, it answers every address that is left."""
    routes = APIRouter()
    static = StaticFolder(FOLDER / "viewer")
    script = configuration_script()

    @routes.get("/app-config.js", dependencies=[Depends(requires(Permission.PUBLIC))])
    def configuration() -> Response:
        return Response(script, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @routes.get("/init-service-worker.js", dependencies=[Depends(requires(Permission.PUBLIC))])
    def no_service_worker() -> Response:
        # OHIF would keep images in the browser; patients' data stays out of there.
        return Response("", media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @routes.get("/open/{study_id}", dependencies=[Depends(requires(Permission.STUDY_READ))])
    def open_study(study_id: str, request: Request) -> Response:
        """Open a study by our own id: our pages link here, so that no UID is in their addresses."""
        database: Database = request.app.state.database
        with database.read() as session:
            uid = session.scalar(select(Study.StudyInstanceUID).where(Study.id == study_id))
        if uid is None:
            raise NotFound("There is no such study.")
        return RedirectResponse(f"/viewer?StudyInstanceUIDs={uid}", 303)

    @routes.get("/", dependencies=[Depends(requires(Permission.STUDY_QUERY))])
    @routes.get("/viewer", dependencies=[Depends(requires(Permission.STUDY_QUERY))])
    @routes.get("/viewer/{rest:path}", dependencies=[Depends(requires(Permission.STUDY_QUERY))])
    def page(request: Request) -> Response:
        return static.index(request)

    @routes.get("/{path:path}", dependencies=[Depends(requires(Permission.PUBLIC))])
    def asset(path: str, request: Request) -> Response:
        if path in ("sw.js", "index.html"):
            raise NotFound("There is nothing here.")
        return static.file(path, request)

    return routes


def send_to_sign_in(app: FastAPI, settings: Settings) -> None:
    """Send a person who opens the viewer without a session to our sign-in page; programs get the plain 401."""

    @app.exception_handler(NotSignedIn)
    def not_signed_in(request: Request, error: NotSignedIn) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return RedirectResponse(main_url(request, settings), 303)
        return errors.answer(error)
