"""The web application: made twice from the same parts, for our pages and for the viewer's listener.

Every route declares its permission (``web/permissions.py``); what wraps them all is in ``web/security.py``.
"""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from starlette.middleware import Middleware

from readingroom import __version__
from readingroom.archive.receive import Archive
from readingroom.core.config import OpenIdProvider, Settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.permissions import Permission
from readingroom.core.secrets import load_secrets
from readingroom.web import (
    dicomweb_routes,
    errors,
    fhir,
    routes_access,
    routes_account,
    routes_admin,
    routes_audit,
    routes_cohorts,
    routes_consent,
    routes_drift,
    routes_fhir_audit,
    routes_fhir_consent,
    routes_health,
    routes_import,
    routes_models,
    routes_norms,
    routes_oidc,
    routes_report,
    routes_runs,
    routes_session,
    routes_set_up,
    routes_simulated_day,
    routes_study,
    routes_system,
    routes_tokens,
    routes_urgent,
    routes_worklist,
)
from readingroom.web import viewer as ohif
from readingroom.web.compression import GzipJson
from readingroom.web.limits import Limits
from readingroom.web.permissions import requires
from readingroom.web.plain_text import check_body
from readingroom.web.security import Guard
from readingroom.web.static_files import FOLDER, StaticFolder

if TYPE_CHECKING:
    from readingroom.access.oidc_provider import Provider

API = "/api/v1"
MAX_JSON_BYTES = 2 << 20
# Of the pages, as strict as they can work with: no inline script, no eval but WebAssembly's.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self' blob:; frame-src 'self' blob:; "
    "manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NO_PAGES = ("api/", "dicomweb/", "fhir/", "metrics", "health")


def create_app(settings: Settings, database: Database, archive: Archive, *, viewer: bool = False) -> FastAPI:
    """Return the app for one listener: our pages with their API, or (``viewer``) OHIF; both with DICOMweb."""
    policy = ohif.policy() if viewer else POLICY
    limits = Limits(settings.requests_per_second)
    app = FastAPI(
        title="Reading Room",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(Guard, settings=settings, csp=policy, limits=limits), Middleware(GzipJson)],
    )
    app.state.limits = limits
    app.state.settings, app.state.database, app.state.archive = settings, database, archive
    app.state.secrets = load_secrets(settings)
    app.state.oidc = _provider(settings.oidc) if settings.oidc else None
    errors.install(app)
    app.include_router(routes_health.router)
    app.include_router(dicomweb_routes.router(archive), prefix=dicomweb_routes.PREFIX)
    if viewer:
        ohif.send_to_sign_in(app, settings)
        app.include_router(ohif.router(settings))
        return app
    api = APIRouter(prefix=API, max_body_size=MAX_JSON_BYTES, dependencies=[Depends(check_body)])
    for routes in (
        *(routes_session, routes_oidc, routes_set_up, routes_account, routes_tokens),
        *(routes_worklist, routes_study, routes_consent, routes_report, routes_system),
        *(routes_access, routes_admin, routes_audit),
        *(routes_cohorts, routes_runs, routes_models, routes_drift, routes_norms),
        *(routes_urgent, routes_access, routes_admin, routes_audit),
        *(routes_cohorts, routes_runs, routes_models, routes_drift, routes_simulated_day),
    ):
        api.include_router(routes.router)
    app.include_router(api)
    exchange = APIRouter(prefix=fhir.PREFIX, max_body_size=MAX_JSON_BYTES, dependencies=[Depends(check_body)])
    exchange.include_router(routes_fhir_consent.router)
    exchange.include_router(routes_fhir_audit.router)
    app.include_router(exchange)
    app.include_router(routes_import.router(settings.max_upload_bytes), prefix=API)
    _add_pages(app)
    return app


def _provider(settings: OpenIdProvider) -> "Provider":
    # It brings HTTP and JOSE libraries that a site without a provider never needs.
    from readingroom.access.oidc_provider import Provider

    return Provider(settings)


def _add_pages(app: FastAPI) -> None:
    """Serve the built pages at every address that is left."""
    static = StaticFolder(FOLDER / "app")

    @app.get("/{path:path}", dependencies=[Depends(requires(Permission.PUBLIC))])
    def page(path: str, request: Request) -> Response:
        if path.startswith(NO_PAGES):
            raise NotFound("There is nothing here.")
        return static.page(path, request)
