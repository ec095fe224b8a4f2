"""Schemathesis over the whole OpenAPI, as every role: whatever is sent, no answer is a failure of ours.

Each operation gets bodies, queries and addresses made from its schema, right ones and wrong ones; half of those that
name a study name one that is there, so that what lies behind the first check is reached too.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from web_support import Site

from readingroom.access.accounts import find_account
from readingroom.access.sessions import open_session
from readingroom.core.permissions import Role

EXAMPLES = 3
"""Of right and of wrong requests each, for an operation and a role."""
FULL = frozenset({503, 507})
"""Answers of 500 and above that are meant: busy, and no room."""
OWN_HEADERS = frozenset({"authorization", "cookie", "x-csrf-token", "host", "connection", "user-agent"})


def operations(site: Site) -> Iterator[schemathesis.APIOperation]:
    schema = schemathesis.openapi.from_dict(site.pages.openapi())
    for result in schema.get_all_operations():
        yield result.ok()


def client_of(site: Site, role: Role | None) -> TestClient:
    """A client with a session of its own: an operation may end it."""
    if role is None or role is Role.SERVICE:
        return site.client() if role is None else site.signed_in(role)
    client = site.client()
    with site.database.write() as session:
        new = open_session(session, find_account(session, role.value).id)
    client.cookies.set("readingroom_session", new.token)
    client.headers["X-CSRF-Token"] = new.csrf
    return client


@pytest.mark.slow
@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: role.value if role else "nobody")
def test_no_request_breaks_the_server(site: Site, study_id: str, role: Role | None) -> None:
    broken: list[str] = []
    for operation in operations(site):
        client = client_of(site, role)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _try(operation, mode, client, study_id, broken)
    assert broken == []


def _try(
    operation: schemathesis.APIOperation, mode: GenerationMode, client: TestClient, study_id: str, broken: list[str]
) -> None:
    sent = 0

    @seed(7)
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        nonlocal sent
        sent += 1
        if "study_id" in case.path_parameters and sent % 2:
            case.path_parameters["study_id"] = study_id
        request = case.as_transport_kwargs(base_url="http://127.0.0.1")
        # Who asks is ours to say, not the generator's.
        headers = {name: value for name, value in request.pop("headers").items() if name.lower() not in OWN_HEADERS}
        request.pop("cookies")
        if isinstance(request.get("data"), bytes):
            request["content"] = request.pop("data")
        answer = client.request(**request, headers=headers, follow_redirects=False)
        if answer.status_code >= 500 and answer.status_code not in FULL:
            broken.append(f"{operation.label}: {answer.status_code} to {case.as_curl_command()}")

    # An operation that takes nothing cannot be asked wrongly.
    with suppress(Unsatisfiable):
        send()
