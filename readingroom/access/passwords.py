"""Passwords: argon2id, and what a password may not be.

Length counts, not kinds of characters. What is refused is what is guessed first: the commonest passwords, a common
word between digits and signs, the account's own name, a run along the alphabet or the keyboard, a few characters
over and over.
"""

import re
import secrets
import threading
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from readingroom.core.errors import BadInput

MINIMUM_LENGTH, MAXIMUM_LENGTH = 12, 256
FEWEST_DIFFERENT = 5
LONGEST_WORD_GAP = 6
"""A common word or the name with fewer other characters than this around it is as good as the word alone."""

# OWASP's second argon2id setting: 19 MiB and two passes, about 30 ms here.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_NOBODYS = _HASHER.hash(secrets.token_hex(16))
# A flood of sign-ins may not take all the machine's memory and cores.
_TURNS = threading.BoundedSemaphore(2)
_RUNS = (
    *("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm"),
    *("1qaz2wsx3edc4rfv5tgb6yhn", "1q2w3e4r5t6y7u8i9o0p"),
)
_RUN_LENGTH = 5
_LEET = str.maketrans("0134578@$!", "oieastbasi")


def random_password() -> str:
    """Return a password of 96 random bits that can be typed."""
    return "-".join(secrets.token_hex(4) for _ in range(3))


def hash_password(name: str, password: str) -> str:
    """Return the argon2id hash of an account's new password. Raises BadInput on a weak one."""
    if not MINIMUM_LENGTH <= len(password) <= MAXIMUM_LENGTH:
        raise BadInput(
            f"A password has {MINIMUM_LENGTH} to {MAXIMUM_LENGTH} characters.",
            "Take a few words of your own.",
        )
    if reason := weakness(name, password):
        raise BadInput(f"That password is among the first to be guessed: {reason}.", "Take a few words of your own.")
    return _HASHER.hash(password)


def is_right(password_hash: str, password: str) -> bool:
    """Whether the password is the hash's. An empty hash (nobody's password) costs as much time and is never right."""
    with _TURNS:
        try:
            return _HASHER.verify(password_hash or _NOBODYS, password[: MAXIMUM_LENGTH + 1]) and bool(password_hash)
        except (VerificationError, InvalidHashError):
            return False


def weakness(name: str, password: str) -> str:
    """Return why the password is easily guessed, or nothing."""
    plain = password.lower()
    if len(set(plain)) < FEWEST_DIFFERENT:
        return "it has too few different characters"
    if len(_without_runs(plain)) < LONGEST_WORD_GAP:
        return "it runs along the alphabet or the keyboard"
    if len(name) > 2 and _is_little_more_than(name.lower(), plain):
        return "it is little more than the account's name"
    for spelt in {plain, plain.translate(_LEET), _without_runs(plain)}:
        if any(_is_little_more_than(word, spelt) for word in _common_words()):
            return "it is little more than a common word"
    return ""


def _is_little_more_than(word: str, password: str) -> bool:
    return word in password and len(password.replace(word, "")) < LONGEST_WORD_GAP


def _without_runs(password: str) -> str:
    """Return the password with each run along the alphabet, the digits or the keyboard, either way, cut out."""
    for line in _RUNS:
        for run in (line, line[::-1]):
            pieces = "|".join(
                re.escape(run[start:end])
                for end in range(len(run), _RUN_LENGTH - 1, -1)
                for start in range(end - _RUN_LENGTH + 1)
            )
            password = re.sub(pieces, "", password)
    return password


@cache
def _common_words() -> tuple[str, ...]:
    return tuple((Path(__file__).parent / "common_words.txt").read_text("utf-8").split())
