"""What a password may not be."""

import pytest

from readingroom.access import passwords
from readingroom.access.passwords import hash_password, is_right, random_password, weakness
from readingroom.core.errors import BadInput


@pytest.mark.parametrize(
    "password",
    ["password1234", "P@ssw0rd!2024", "123456789012", "Password123456!", "qwertyuiop12", "QWERTZUIOPasdf",
     "abcdefghijkl", "lkjihgfedcba", "aaaaaaaaaaaaaaa", "abababababab", "welcome12345", "Radiology2026!",
     "readingroom!1", "iloveyou1234", "admin12345678", "drmustermann", "DrMustermann1", "1q2w3e4r5t6y",
     "letmeinletmein", "987654321098"],
)  # fmt: skip
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(BadInput) as refused:
        hash_password("drmustermann", password)
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "correct-horse-battery-9", "another long one", "tinfoil kettle ostrich", "Vq8#mmZ0r2!x",
     "the radiologist likes old maps", "mein Hund frisst Schuhe"],
)  # fmt: skip
def test_others_are_taken(password: str) -> None:
    assert is_right(hash_password("drmustermann", password), password)


def test_length_has_two_ends() -> None:
    for password in ("Vq8#mmZ0r2!", "ab cd efg " * 26):
        with pytest.raises(BadInput, match="12 to 256"):
            hash_password("ann", password)


def test_random_passwords_are_good_ones() -> None:
    assert len({random_password() for _ in range(50)}) == 50
    assert [p for p in (random_password() for _ in range(200)) if weakness("radiologist", p)] == []


def test_nobodys_password_is_never_right_and_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    verify = passwords._HASHER.verify
    monkeypatch.setattr(
        "argon2.PasswordHasher.verify", lambda self, *a: verified.append(1) or verify.__func__(self, *a)
    )
    assert not is_right("", "")
    assert not is_right("", "anything")
    assert len(verified) == 2
