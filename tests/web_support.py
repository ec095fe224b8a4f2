"""A small site for the tests of the web room: both apps over one database, a signed-in client for each role."""

from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.testclient import TestClient

from readingroom.access.accounts import create_account, find_account
from readingroom.access.projects import create_project
from readingroom.access.tokens import create_token, scopes_of
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Permission, ProjectKind, Role
from readingroom.web.app import create_app

PASSWORD = "correct horse battery"


@dataclass
class Site:
    database: Database
    settings: Settings
    pages: FastAPI
    viewer: FastAPI

    def client(self, app: FastAPI | None = None) -> TestClient:
        return TestClient(app or self.pages, base_url="http://127.0.0.1", raise_server_exceptions=False)

    def signed_in(self, role: Role, app: FastAPI | None = None) -> TestClient:
        """A client of the account named as the role: a browser's, or, for a machine, a program's with its token."""
        if role is Role.SERVICE:
            client = self.client(app)
            client.headers["Authorization"] = f"Bearer {self.token(role, scopes_of(role))}"
            return client
        client = self.client()
        answer = client.post("/api/v1/session", json={"name": role.value, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        if app is not None:
            other = self.client(app)
            other.cookies.update(client.cookies)
            client = other
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        return client

    def token(self, role: Role, scopes: Iterable[Permission], project: str = "") -> str:
        """An API token of the account named as the role."""
        with self.database.write() as session:
            account = find_account(session, role.value)
            return create_token(session, account, "test", list(scopes), 1, project=project, actor="test").text


def make_site(database: Database, settings: Settings) -> Site:
    """Both apps with an account for each role (named as the role), each in a project it can be in.

    The researcher is in ``trial`` and the machine in ``care``, where all the others are but the administrator.
    """
    archive = Archive(settings, database, LocalStore(settings.store_folder))
    with database.write() as session:
        create_project(session, "trial", ProjectKind.RESEARCH, actor="test")
        elsewhere = {Role.RESEARCHER: {"trial": Role.RESEARCHER}, Role.SERVICE: {"care": Role.SERVICE}}
        for role in Role:
            create_account(session, role.value, PASSWORD, role, projects=elsewhere.get(role))
    return Site(
        database,
        settings,
        create_app(settings, database, archive),
        create_app(settings, database, archive, viewer=True),
    )
