"""The OpenID provider of this site, and how it is asked: code flow with PKCE, state and nonce.

What the browser brings back is a code, worth nothing without the verifier that stays here. What the provider says of a
person is believed once its signature, issuer, audience, nonce and times fit. Loaded only where a provider is set up.
"""

import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from readingroom.access.accounts import Identity, is_name
from readingroom.access.oidc import LEEWAY, OidcRefused, Person
from readingroom.core.clock import monotonic
from readingroom.core.config import OpenIdProvider
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex

log = logging.getLogger(__name__)

SECRET_VARIABLE = "READINGROOM_OIDC_CLIENT_SECRET"  # noqa: S105  (its name, not its value)
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
_TIMEOUT_SECONDS = 10.0
_KEPT_SECONDS = 3600.0
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Trip:
    """One way to the provider and back: where the browser goes, and what is kept here until it returns."""

    url: str
    kept: dict[str, str]


class Provider:
    """The OpenID provider of this site. Its metadata and keys are fetched when first needed and kept for an hour."""

    def __init__(self, settings: OpenIdProvider) -> None:
        self.settings = settings
        self._secret = _client_secret(settings)
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def begin(self, redirect_uri: str, *, fresh: bool = False) -> Trip:
        """Return a trip to the provider; with ``fresh`` it asks who is there though it may know. Raises OidcRefused."""
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        url = prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            client_id=self.settings.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=" ".join(self.settings.scopes),
            state=kept["state"],
            nonce=kept["nonce"],
            code_challenge=create_s256_code_challenge(kept["verifier"]),
            code_challenge_method="S256",
            **({"prompt": "login", "max_age": "0"} if fresh else {}),
        )
        return Trip(url, kept)

    def finish(self, kept: Mapping[str, str], redirect_uri: str, answer: Mapping[str, str]) -> Person:
        """Return the person that the provider's answer (the query it sent the browser back with) is about.

        Raises OidcRefused.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), kept["state"].encode()):
            raise _failed("another sign-in's state")
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:
            raise _failed("another issuer's answer")
        if not answer.get("code"):
            raise _failed(f"no code: {_word(answer.get('error'))}")
        tokens = self._tokens(answer["code"], kept["verifier"], redirect_uri)
        claims = self._claims(tokens, kept["nonce"])
        wanted = {self.settings.name_claim, self.settings.role_claim, "name"}
        if wanted - claims.keys() and "userinfo_endpoint" in self._metadata():
            headers = {"Authorization": f"Bearer {tokens.get('access_token')}"}
            told = _ask("GET", self._endpoint("userinfo_endpoint"), headers=headers)
            if told.get("sub") != claims["sub"]:
                raise _failed("userinfo of somebody else")
            claims = {**told, **claims}
        return self._person(claims)

    def sign_out_url(self, back: str) -> str:
        """Return where the browser signs out at the provider, which sends it ``back``; nothing where it cannot."""
        try:
            place = self._endpoint("end_session_endpoint")
        except OidcRefused:
            return ""
        query = urlencode({"client_id": self.settings.client_id, "post_logout_redirect_uri": back})
        return f"{place}{'&' if '?' in place else '?'}{query}"

    def _tokens(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        url, headers = self._endpoint("token_endpoint"), {"Content-Type": "application/x-www-form-urlencoded"}
        body = prepare_token_request("authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)
        known = self._metadata().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        names = (self.settings.client_id, self._secret)
        if not self._secret:
            auth = ClientAuth(*names, "none")
        elif "client_secret_basic" in known:
            # RFC 6749 section 2.3.1 has both form-encoded first; the library leaves that to us.
            auth = ClientAuth(*map(quote_plus, names), "client_secret_basic")
        else:
            auth = ClientAuth(*names, "client_secret_post")
        url, headers, body = auth.prepare("POST", url, headers, body)
        return _ask("POST", url, headers=headers, content=body)

    def _claims(self, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise _failed("no ID token")
        try:
            try:
                token = jwt.decode(text, self._keys(), algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                # The provider may have changed its keys since ours were fetched.
                token = jwt.decode(text, self._keys(anew=True), algorithms=ALGORITHMS)
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self.settings.issuer},
                    "aud": {"essential": True, "value": self.settings.client_id},
                    "sub": {"essential": True},
                },
                params={
                    "nonce": nonce,
                    "client_id": self.settings.client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(leeway=int(LEEWAY.total_seconds()))
        except (JoseError, ValueError) as error:
            raise _failed(f"ID token: {type(error).__name__}") from None
        return dict(claims)

    def _person(self, claims: Mapping[str, Any]) -> Person:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
            raise _failed("a subject that is none")
        identity = Identity(self.settings.issuer, subject)
        name = claims.get(self.settings.name_claim)
        if not isinstance(name, str) or not is_name(name):
            name = f"oidc-{sha256_hex(identity.issuer, identity.subject)[:12]}"
        display_name = claims.get("name")
        held = claims.get(self.settings.role_claim)
        values = held if isinstance(held, list) else [held]
        role = next((role for value, role in self.settings.roles.items() if value in values), None)
        proved = claims.get("auth_time")
        return Person(
            identity,
            name,
            display_name[:128] if isinstance(display_name, str) else "",
            role,
            float(proved) if isinstance(proved, int | float) else 0.0,
        )

    def _metadata(self) -> dict[str, Any]:
        place = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._get(place)
        if found.get("issuer") != self.settings.issuer:
            raise _unavailable("its discovery document names another issuer")
        return found

    def _keys(self, *, anew: bool = False) -> KeySet:
        found = self._get(self._endpoint("jwks_uri"), anew=anew).get("keys")
        keys = [key for key in found or () if key.get("use", "sig") == "sig"]
        return KeySet.import_key_set({"keys": keys})

    def _endpoint(self, name: str) -> str:
        found = self._metadata().get(name)
        if not isinstance(found, str):
            raise _unavailable(f"it names no {name}")
        return _checked(found)

    def _get(self, url: str, *, anew: bool = False) -> dict[str, Any]:
        with self._lock:
            until, found = self._kept.get(url, (0.0, {}))
            if anew or monotonic() >= until:
                found = _ask("GET", _checked(url))
                self._kept[url] = (monotonic() + _KEPT_SECONDS, found)
            return found


def _client_secret(settings: OpenIdProvider) -> str:
    if secret := os.environ.get(SECRET_VARIABLE):
        return secret
    if settings.client_secret_file is None:
        return ""
    try:
        return settings.client_secret_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise BadInput(
            "The file with the OpenID client's secret cannot be read.", "Look at client_secret_file."
        ) from None


def _checked(url: str) -> str:
    """Return an address of the provider's that we may ask: by https, or on this very machine. Raises OidcRefused."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise _unavailable("an address of it is not https")
    return url


def _ask(method: str, url: str, **request: Any) -> dict[str, Any]:
    """Return the JSON object that the provider answers. Raises OidcRefused."""
    try:
        with httpx.Client(timeout=_TIMEOUT_SECONDS) as client, client.stream(method, url, **request) as answer:
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _LARGEST_BYTES:
                    raise _unavailable("its answer is too large")
        found = json.loads(body)
    except (httpx.HTTPError, ValueError) as error:
        raise _unavailable(type(error).__name__) from None
    if answer.status_code != 200 or not isinstance(found, dict):
        raise _failed(f"HTTP {answer.status_code} {_word(found.get('error') if isinstance(found, dict) else None)}")
    return found


def _word(code: object) -> str:
    """Return an error's code as the standard writes them; nothing else of an answer gets into the log."""
    return code if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code) else ""


def _failed(why: str) -> OidcRefused:
    # Why is for the log: a person can do nothing about it but begin again.
    log.warning("sign-in at the OpenID provider failed: %s", why)
    return OidcRefused("The sign-in at the provider did not work.", "Begin again.")


def _unavailable(why: str) -> OidcRefused:
    log.warning("the OpenID provider cannot be used: %s", why)
    return OidcRefused(
        "The provider cannot be reached.", "Try again, or tell an administrator.", code="oidc-unavailable"
    )
