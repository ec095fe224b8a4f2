"""Journeys of signing in, in Chromium: first run, authenticator app, passkey (virtual authenticator), OpenID provider.

The web process runs alone: nothing here needs a study.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from e2e_house import PASSWORD, shoot, sign_in, sign_out, web_running
from oidc_support import PASSWORD as PROVIDER_PASSWORD
from oidc_support import provider_settings, running_provider
from playwright.sync_api import Page, expect
from sqlalchemy import update

from readingroom.access import first_run
from readingroom.access.accounts import create_account
from readingroom.access.second_factor import STEP_SECONDS, code_at
from readingroom.access.tables import TotpFactor, WebSession
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Role
from readingroom.core.secrets import load_secrets

pytestmark = [pytest.mark.tools, pytest.mark.slow]


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, Database]]:
    """The pages' address by name (passkeys need one) with a radiologist."""
    with web_running(settings) as database:
        with database.write() as session:
            create_account(session, "rada", PASSWORD, Role.RADIOLOGIST, display_name="Rada Radiologist")
        yield f"http://localhost:{settings.web_port}", database


def code_now(settings: Settings, database: Database) -> str:
    """The app's code of this moment; what was taken is forgotten, so that nobody waits half a minute."""
    with database.write() as session:
        factor = session.query(TotpFactor).one()
        factor.last_step = 0
        secret = load_secrets(settings).open(factor.secret, f"totp {factor.account_id}")
    return code_at(secret, int(utc_now().timestamp()) // STEP_SECONDS)


def signed_in_long_ago(database: Database) -> None:
    with database.write() as session:
        session.execute(update(WebSession).values(proved_at=utc_now() - timedelta(hours=5)))


def test_first_run(settings: Settings, tab: Page) -> None:
    with web_running(settings) as database:
        pages = f"http://127.0.0.1:{settings.web_port}"
        tab.goto(pages)
        expect(tab.get_by_test_id("set-up-owed")).to_be_visible()
        shoot(tab, "first-run-sign-in")
        tab.goto(f"{pages}/set-up#{first_run.offer(database)}")
        tab.get_by_test_id("set-up-name").fill("anna")
        tab.get_by_test_id("set-up-display-name").fill("Anna Administrator")
        tab.get_by_test_id("new-password").fill("password1234")
        tab.get_by_test_id("new-password-again").fill("password1234")
        tab.get_by_test_id("set-up-submit").click()
        expect(tab.get_by_test_id("error-note")).to_contain_text("first to be guessed")
        shoot(tab, "first-run-weak")
        tab.get_by_test_id("new-password").fill(PASSWORD)
        expect(tab.get_by_test_id("password-hint")).to_have_text("Good: long.")
        expect(tab.get_by_test_id("set-up-submit")).to_be_disabled()
        tab.get_by_test_id("new-password-again").fill(PASSWORD)
        tab.get_by_test_id("set-up-submit").click()
        tab.get_by_test_id("account-app").wait_for()
        assert tab.url == f"{pages}/account", "the token has left the address"
        expect(tab.get_by_test_id("my-account")).to_contain_text("Anna Administrator · administrator")
        expect(tab.get_by_test_id("no-passkeys")).to_contain_text(f"open http://localhost:{settings.web_port}")
        shoot(tab, "account-at-a-number")
        sign_out(tab)
        expect(tab.get_by_test_id("set-up-owed")).to_have_count(0)
        tab.goto(f"{pages}/set-up#again")
        expect(tab.get_by_role("heading", name="Set up already")).to_be_visible()


def test_authenticator_app(served: tuple[str, Database], settings: Settings, tab: Page) -> None:
    pages, database = served
    tab.goto(pages)
    sign_in(tab)
    tab.get_by_test_id("my-account").click()
    signed_in_long_ago(database)
    tab.get_by_test_id("app-begin").click()
    tab.get_by_test_id("proof-text").fill("not the password")
    tab.get_by_test_id("proof-submit").click()
    expect(tab.get_by_test_id("error-note")).to_contain_text("not right")
    shoot(tab, "proof")
    tab.get_by_test_id("proof-text").fill(PASSWORD)
    tab.get_by_test_id("proof-submit").click()
    assert tab.locator("img.qr").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    shoot(tab, "app-qr")
    tab.get_by_test_id("app-code").fill(code_now(settings, database))
    tab.get_by_test_id("app-confirm").click()
    shown = tab.get_by_test_id("recovery-codes").locator("li")
    expect(shown).to_have_count(10)
    codes = shown.all_inner_texts()
    shoot(tab, "recovery-codes")
    tab.get_by_test_id("codes-kept").click()
    expect(tab.get_by_test_id("app-on")).to_be_visible()
    expect(tab.get_by_test_id("recovery-codes")).to_have_count(0)
    sign_out(tab)
    sign_in(tab)
    tab.get_by_test_id("sign-in-code").fill("000000")
    tab.get_by_test_id("sign-in-submit").click()
    expect(tab.get_by_test_id("error-note")).to_contain_text("The code is not right")
    shoot(tab, "sign-in-code")
    tab.get_by_test_id("sign-in-code").fill(code_now(settings, database))
    tab.get_by_test_id("sign-in-submit").click()
    tab.get_by_test_id("sign-out").wait_for()
    sign_out(tab)
    sign_in(tab)
    tab.get_by_test_id("sign-in-code").fill(codes[0].upper())
    tab.get_by_test_id("sign-in-submit").click()
    tab.get_by_test_id("my-account").click()
    expect(tab.get_by_test_id("account-app")).to_contain_text("9 recovery codes are left")
    shoot(tab, "account")


def test_passkey(served: tuple[str, Database], tab: Page) -> None:
    pages, database = served
    devices = tab.context.new_cdp_session(tab)
    devices.send("WebAuthn.enable")
    device = devices.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                "isUserVerified": True, "automaticPresenceSimulation": True,
            }
        },
    )["authenticatorId"]  # fmt: skip
    tab.goto(pages)
    sign_in(tab)
    tab.get_by_test_id("my-account").click()
    tab.get_by_test_id("passkey-name").fill("Reading room's key")
    tab.get_by_test_id("passkey-add").click()
    expect(tab.get_by_test_id("passkey")).to_contain_text("Reading room's key")
    shoot(tab, "passkeys")
    # The same device again is refused by the browser, in a sentence.
    tab.get_by_test_id("passkey-name").fill("again")
    tab.get_by_test_id("passkey-add").click()
    expect(tab.get_by_test_id("error-note")).to_contain_text("has a passkey of this account already")
    sign_out(tab)
    shoot(tab, "sign-in-with-passkey")
    tab.get_by_test_id("sign-in-passkey").click()
    expect(tab.get_by_test_id("my-account")).to_contain_text("Rada Radiologist")
    # Asked again who is there, the passkey is enough.
    tab.get_by_test_id("my-account").click()
    signed_in_long_ago(database)
    tab.get_by_test_id("app-begin").click()
    tab.get_by_test_id("proof-passkey").click()
    tab.get_by_test_id("app-code").wait_for()
    # A device whose owner did not verify gets nobody in.
    sign_out(tab)
    devices.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    tab.get_by_test_id("sign-in-passkey").click()
    expect(tab.get_by_test_id("error-note")).to_be_visible()
    devices.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    tab.get_by_test_id("sign-in-passkey").click()
    tab.get_by_test_id("my-account").click()
    tab.get_by_role("button", name="Remove Reading room's key").click()
    expect(tab.get_by_test_id("passkey")).to_have_count(0)
    sign_out(tab)
    tab.get_by_test_id("sign-in-passkey").click()
    expect(tab.get_by_test_id("error-note")).to_contain_text("That passkey was not accepted")


def test_openid_provider(settings: Settings, tab: Page, tmp_path: Path) -> None:
    pages = f"http://localhost:{settings.web_port}"
    with (
        running_provider(pages) as issuer,
        web_running(settings.model_copy(update={"oidc": provider_settings(issuer, tmp_path / "secret")})) as database,
    ):
        at_provider = re.compile(rf"^{re.escape(issuer)}/interaction/")

        def at_the_provider(name: str) -> None:
            tab.wait_for_url(at_provider)
            tab.get_by_label("Name").fill(name)
            tab.get_by_label("Password").fill(PROVIDER_PASSWORD)
            tab.get_by_role("button", name="Go on").click()

        with database.write() as session:
            create_account(session, "ann", PASSWORD, Role.ADMINISTRATOR)
        tab.goto(pages)
        tab.get_by_test_id("sign-in-provider").wait_for()
        shoot(tab, "sign-in-with-provider")
        tab.get_by_test_id("sign-in-provider").click()
        at_the_provider("nora")
        expect(tab.get_by_test_id("error-note")).to_contain_text("Your account has no role here.")
        assert tab.url == f"{pages}/"
        shoot(tab, "provider-refused")
        tab.context.clear_cookies()  # at the provider it is nora still
        tab.get_by_test_id("sign-in-provider").click()
        at_the_provider("olga")
        expect(tab.get_by_test_id("my-account")).to_contain_text("Olga Example · radiologist")
        tab.get_by_test_id("my-account").click()
        expect(tab.get_by_text("You sign in with the test hospital.")).to_be_visible()
        shoot(tab, "account-of-the-provider")
        # Out here is out there: the next one at this screen is asked for a name.
        tab.get_by_test_id("sign-out").click()
        tab.get_by_role("button", name="Sign out").click()
        tab.wait_for_url(f"{pages}/")
        tab.get_by_test_id("sign-in-provider").click()
        tab.wait_for_url(at_provider)


def test_a_role_that_must_have_a_second_factor(settings: Settings, tab: Page) -> None:
    must = settings.model_copy(update={"second_factor_required": (Role.RADIOLOGIST,)})
    with web_running(must) as database:
        with database.write() as session:
            create_account(session, "rada", PASSWORD, Role.RADIOLOGIST)
        tab.goto(f"http://localhost:{settings.web_port}/readers")
        sign_in(tab)
        expect(tab.get_by_test_id("second-factor-owed")).to_be_visible()
        tab.get_by_test_id("app-begin").wait_for()
        shoot(tab, "second-factor-owed")
        tab.get_by_test_id("app-begin").click()
        tab.get_by_test_id("app-code").wait_for()
        tab.get_by_test_id("app-code").fill(code_now(settings, database))
        tab.get_by_test_id("app-confirm").click()
        tab.get_by_test_id("codes-kept").click()
        expect(tab.get_by_role("link", name="Worklist")).to_be_visible()
        expect(tab.get_by_role("heading", name="Readers")).to_be_visible()
        expect(tab.get_by_test_id("reader-card").first).to_be_visible()
