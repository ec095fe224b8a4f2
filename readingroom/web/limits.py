"""How much one account or one address may ask for: token buckets, in memory, for each process by itself.

They keep one caller from taking what belongs to all, and make guessing and copying slow; failed sign-ins have a limit
of their own that holds for all processes (``access/limits.py``). Images get far more than the rest: a viewer fetches
hundreds within a second.
"""

import ipaddress
import threading
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final

from readingroom.core.clock import monotonic
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import Permission

BURST_SECONDS: Final = 10.0
"""A bucket holds what comes in this long."""
LARGEST: Final = 10_000
SIGNING_IN: Final = ("/api/v1/session", "/api/v1/set-up")


class Kind(StrEnum):
    """What is asked for. Each has a bucket of its own."""

    SIGN_IN = "sign-in"
    SEARCH = "search"
    IMAGES = "images"
    OTHER = "other"


SHARE: Final = {Kind.SIGN_IN: 0.1, Kind.SEARCH: 0.2, Kind.IMAGES: 10.0, Kind.OTHER: 1.0}
"""Part of ``requests_per_second`` that each kind gets."""
ADDRESS_SHARE: Final = 20.0
"""And that one address gets in all: many people may be behind it."""


class TooManyRequests(ReadingRoomError):
    """Faster than the limit; ``retry_after`` in seconds."""

    code = "too-many-requests"

    def __init__(self, wait_seconds: float) -> None:
        self.retry_after = max(1, ceil(wait_seconds))
        super().__init__("Too many requests.", f"Wait {self.retry_after} s and try again.")


@dataclass
class _Bucket:
    tokens: float
    at: float


class Limits:
    """The buckets of one application."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take_for_address(self, address: str, method: str, path: str) -> None:
        """Count a request from ``address``. Raises TooManyRequests."""
        who = _network(address)
        self._take(("address", who), ADDRESS_SHARE)
        if method == "POST" and path.startswith(SIGNING_IN):
            self._take((Kind.SIGN_IN, who), SHARE[Kind.SIGN_IN])

    def take_for_account(self, name: str, permission: Permission, path: str) -> None:
        """Count a request of an account. Raises TooManyRequests."""
        kind = _kind(permission, path)
        self._take((kind, name), SHARE[kind])

    def _take(self, key: tuple[str, str], share: float) -> None:
        rate = self._per_second * share
        most = max(1.0, rate * BURST_SECONDS)
        now = monotonic()
        with self._lock:
            if len(self._buckets) >= LARGEST and key not in self._buckets:
                self._forget(now)
            bucket = self._buckets.setdefault(key, _Bucket(most, now))
            bucket.tokens = min(most, bucket.tokens + rate * (now - bucket.at))
            bucket.at = now
            if bucket.tokens < 1:
                raise TooManyRequests((1 - bucket.tokens) / rate)
            bucket.tokens -= 1

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again: whoever has not asked for that long. Else those unused longest."""
        self._buckets = {key: one for key, one in self._buckets.items() if now - one.at < BURST_SECONDS}
        for key in sorted(self._buckets, key=lambda key: self._buckets[key].at)[: len(self._buckets) - LARGEST // 2]:
            del self._buckets[key]


def _kind(permission: Permission, path: str) -> Kind:
    if permission is Permission.STUDY_QUERY:
        return Kind.SEARCH
    return Kind.IMAGES if path.startswith("/dicomweb/") else Kind.OTHER


def _network(address: str) -> str:
    """What one caller can choose its addresses from: all of an IPv4 address, the first half of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
