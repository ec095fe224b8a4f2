"""``readingroom certificate make``: certificates for TLS, signed by an authority of our own in the home folder."""

import argparse
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from readingroom.cli.home import add_home, open_home
from readingroom.core.config import Settings
from readingroom.core.errors import BadInput

if TYPE_CHECKING:
    from readingroom.core.certificates import Pair

_CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("certificate", help="make certificates for TLS")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser(
        "make",
        help="a server's certificate, and clients'",
        description="Make a server certificate (anew, where there is one) and one for each client named, signed by an "
        "authority that is made the first time. All of them lie in tls/ in the home folder.",
    )
    make.add_argument("--name", action="append", default=[], help="a name or address people and machines reach this at")
    make.add_argument("--client", action="append", default=[], help="make a certificate for this client")
    add_home(make)


def run(options: argparse.Namespace) -> int:
    from readingroom.core.certificates import CLIENT, DAYS, SERVER, authority, issue

    settings = open_home(options.home)
    for name in options.client:
        if not _CLIENT.fullmatch(name) or name in ("ca", "server"):
            raise BadInput(f"{name!r} cannot be a client's name.", "Letters, digits, dots, hyphens; not ca or server.")
    folder = tls_folder(settings)
    server = issue(folder, SERVER, SERVER, [*dict.fromkeys([*options.name, *own_names(settings)])])
    clients = [issue(folder, name, CLIENT, [name]) for name in options.client]
    signer = authority(folder)
    print(f"authority  {signer.certificate}   (for whoever is to trust the others; keep its key apart)")
    for what, pair in (("server", server), *zip(options.client, clients, strict=True)):
        print(f"{what:10} {pair.certificate}   {pair.key}")
    print(f"They last {DAYS} days. In config.toml, for the pages and for DICOM over TLS:\n")
    print(f'tls_certificate = "{server.certificate}"\ntls_key = "{server.key}"')
    print(f'dicom_tls_certificate = "{server.certificate}"\ndicom_tls_key = "{server.key}"')
    print(f'dicom_tls_ca = "{signer.certificate}"')
    return 0


def tls_folder(settings: Settings) -> Path:
    return settings.home.absolute() / "tls"


def own_names(settings: Settings) -> list[str]:
    """Return the names and addresses this machine is reached at, as far as they are known here."""
    listening = [host for host in (settings.web_host, settings.dicom_host) if host not in ("0.0.0.0", "::", "")]  # noqa: S104
    typed = urlsplit(settings.web_address).hostname
    names = [socket.gethostname(), *settings.allowed_hosts, *([typed] if typed else []), *listening]
    return [*dict.fromkeys(name.lower() for name in [*names, "localhost", "127.0.0.1", "::1"])]


def use_own_certificate(settings: Settings) -> "Pair | None":
    """See that the pages speak HTTPS in every process started from here; return the pair that was made for it.

    None where the settings name a certificate. One that ends soon is made anew.
    """
    from readingroom.core.certificate_ends import ends_soon
    from readingroom.core.certificates import SERVER, Pair, issue, names_in

    if settings.tls_certificate is not None:
        return None
    pair = Pair.of(tls_folder(settings), SERVER)
    had = names_in(pair.certificate) if pair.certificate.exists() else []
    if not had or ends_soon(pair.certificate):
        pair = issue(tls_folder(settings), SERVER, SERVER, [*dict.fromkeys([*had, *own_names(settings)])])
    os.environ["READINGROOM_TLS_CERTIFICATE"] = str(pair.certificate)
    os.environ["READINGROOM_TLS_KEY"] = str(pair.key)
    return pair
