"""Who belongs together, and in which part: pure functions of what may become a member.

The same pixels count once. Patients who share a picture are one person under two names, so they make one group. The
part of a group is decided by a keyed hash of it, and kept: what was trained on once is never tested on later.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from readingroom.learning.model import Candidate, LeftOut, Part, Shares

_DIGITS = 32
# What was learned can't be unlearned: a group that turns out to be in two parts stays where it was trained on.
_STAYS = (Part.TRAINING, Part.VALIDATION, Part.TEST)


@dataclass(frozen=True)
class Placed:
    """A candidate with its group and part. ``identity``: the keyed hash of its own patient."""

    candidate: Candidate
    identity: str
    group: str
    part: Part


def keyed(secret: bytes, identity: str) -> str:
    """Return the keyed hash (HMAC-SHA-256, 128 bits in hex) that stands for a patient or a declared group."""
    return hmac.digest(secret, identity.encode(), hashlib.sha256).hex()[:_DIGITS]


def part_of(group: str, shares: Shares) -> Part:
    """Return the part of a group from its keyed hash, read as a number from 0 to 1."""
    place = int(group, 16) / 16**_DIGITS
    if place < shares.test:
        return Part.TEST
    return Part.VALIDATION if place < shares.test + shares.validation else Part.TRAINING


def without_duplicates(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Return those that bring a picture of their own, and those all of whose pictures came before, in their order.

    Of several with the same pictures the one with the most stays, then the one that stands first.
    """
    seen: set[str] = set()
    kept, duplicates = set[int](), set[int]()
    for place in sorted(range(len(candidates)), key=lambda n: -len(candidates[n].pixels)):
        pixels = candidates[place].pixels
        (duplicates if pixels <= seen else kept).add(place)
        seen |= pixels
    return [candidates[n] for n in sorted(kept)], [candidates[n] for n in sorted(duplicates)]


def place(
    members: Sequence[Candidate],
    joining: Sequence[Candidate],
    secret: bytes,
    shares: Shares,
    fixed: Mapping[str, Part],
    blank: Collection[str],
) -> tuple[list[Placed], list[LeftOut], dict[str, Part]]:
    """Return the members with group and part; why others can't be members; and the parts that are fixed from now on.

    ``joining``: all that was looked at, duplicates too: they say who is the same person. ``fixed``: keyed hash of a
    patient -> the part it already has. ``blank``: digests of pictures without content, which join nobody. Where a
    group joins patients of two parts, those leave whose part is not the group's.
    """
    leader = _joined(joining, secret, blank)
    parts: dict[str, Part] = {}
    for identity, group in leader.items():
        if identity in fixed:
            parts[group] = min(parts.get(group, Part.TEST), fixed[identity], key=_STAYS.index)
    placed, left = [], []
    for candidate in members:
        identity = keyed(secret, candidate.identity)
        group = leader[identity]
        part = parts.setdefault(group, part_of(group, shares))
        if fixed.get(identity, part) is part:
            placed.append(Placed(candidate, identity, group, part))
        else:
            left.append(LeftOut.OTHER_PART)
    fresh = {one: parts[group] for one, group in leader.items() if group in parts and one not in fixed}
    return placed, left, fresh


def shared_by_several(candidates: Sequence[Candidate]) -> set[str]:
    """Return the digests that pictures of more than one patient have."""
    owner: dict[str, str] = {}
    shared = set()
    for candidate in candidates:
        for digest in candidate.pixels:
            if owner.setdefault(digest, candidate.identity) != candidate.identity:
                shared.add(digest)
    return shared


def _joined(candidates: Sequence[Candidate], secret: bytes, blank: Collection[str]) -> dict[str, str]:
    """Return the group of each patient: of those joined, the smallest of their hashes stands for all."""
    above: dict[str, str] = {}

    def top(identity: str) -> str:
        while above[identity] != identity:
            identity = above[identity]
        return identity

    first: dict[str, str] = {}
    for candidate in candidates:
        mine = keyed(secret, candidate.identity)
        above.setdefault(mine, mine)
        for digest in candidate.pixels.difference(blank):
            ours, other = top(mine), top(first.setdefault(digest, mine))
            low, high = sorted((ours, other))
            above[high] = low
    return {identity: top(identity) for identity in above}
