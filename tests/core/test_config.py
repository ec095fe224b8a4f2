"""Settings of signing in, as config.toml holds them."""

from pathlib import Path

import pytest

from readingroom.core.config import load_settings
from readingroom.core.errors import BadInput
from readingroom.core.permissions import Role

SIGNING_IN = """
web_address = "https://reading.example"
second_factor_required = ["administrator"]
[oidc]
issuer = "https://login.example/realms/hospital"
client_id = "reading-room"
[oidc.roles]
"it" = "administrator"
"staff" = "radiologist"
"""


def test_settings_of_signing_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text(SIGNING_IN)
    # Lists and tables come from the file only.
    monkeypatch.setenv("READINGROOM_OIDC", "{}")
    monkeypatch.setenv("READINGROOM_SECOND_FACTOR_REQUIRED", "[]")
    settings = load_settings(tmp_path)
    assert settings.second_factor_required == (Role.ADMINISTRATOR,)
    assert settings.oidc is not None
    assert list(settings.oidc.roles) == ["it", "staff"], "in the order they were written"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"staff" = "radiologist"', '"staff" = "service"', "oidc.roles"),
        ('"staff" = "radiologist"', '"staff" = "chief"', "oidc.roles.staff"),
        ('client_id = "reading-room"', 'client_id = "x"\nclient_secret = "in clear"', "oidc.client_secret"),
        ("https://reading.example", "https://reading.example/path", "web_address"),
        ("https://reading.example", "reading.example", "web_address"),
        ("https://login.example", "login.example", "oidc.issuer"),
        ('["administrator"]', '["boss"]', "second_factor_required"),
    ],
)
def test_wrong_ones_are_named_and_not_repeated(tmp_path: Path, old: str, new: str, named: str) -> None:
    (tmp_path / "config.toml").write_text(SIGNING_IN.replace(old, new))
    with pytest.raises(BadInput, match=named) as refused:
        load_settings(tmp_path)
    assert "in clear" not in str(refused.value)
