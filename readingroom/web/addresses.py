"""The addresses of the two listeners as the asking browser sees them."""

from urllib.parse import urlsplit

from fastapi import Request

from readingroom.access import passkeys
from readingroom.core.config import Settings


def page_address(request: Request, settings: Settings) -> str:
    """Return scheme, host and port of our pages: as configured, else as the asking browser has them."""
    # The Host header was checked.
    return settings.web_address or f"{request.url.scheme}://{request.url.netloc}"


def is_secure(request: Request, settings: Settings) -> bool:
    """Whether people reach our pages by HTTPS, here or through a proxy that ``web_address`` tells of."""
    return page_address(request, settings).startswith("https://")


def no_passkeys_here(request: Request, settings: Settings) -> str:
    """Return why the asking browser can use no passkey where it is, and where it can; nothing where it can."""
    address = page_address(request, settings)
    host = urlsplit(address).hostname
    if host != request.url.hostname:
        return f"Passkeys belong to another address of these pages: open {address} to use them."
    if host in ("127.0.0.1", "::1"):
        return f"Passkeys belong to a name, not a number: open {address.replace(host, 'localhost')} to use them."
    return passkeys.why_not(address)


def passkey_place(request: Request, settings: Settings) -> passkeys.Place:
    """Return the place that passkeys belong to. Raises Unsupported where none can be used."""
    return passkeys.place_of(page_address(request, settings))


def main_url(request: Request, settings: Settings) -> str:
    """Return the address of our pages."""
    return _url(request, settings.web_port)


def viewer_url(request: Request, settings: Settings) -> str:
    """Return the address of the full viewer."""
    return _url(request, settings.viewer_port)


def _url(request: Request, port: int) -> str:
    # The Host header was checked; the same name on the other port keeps the cookie.
    host = request.url.hostname or "localhost"
    host = f"[{host}]" if ":" in host else host
    return f"{request.url.scheme}://{host}:{port}/"
