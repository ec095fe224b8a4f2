"""Parts and groups: pure. Whoever shares a picture is one group, and nobody ever moves."""

import random

import pytest

from readingroom.learning.groups import keyed, part_of, place, shared_by_several, without_duplicates
from readingroom.learning.model import Candidate, LeftOut, Part, Shares

SECRET = b"k" * 32
SHARES = Shares(validation=0.2, test=0.3)


def one(identity: str, *pixels: str) -> Candidate:
    return Candidate("d", identity, frozenset(pixels))


def placed(candidates: list[Candidate], fixed: dict[str, Part] | None = None, blank: frozenset[str] = frozenset()):
    return place(candidates, candidates, SECRET, SHARES, fixed or {}, blank)


def test_the_part_is_decided_by_the_key_alone() -> None:
    people = [one(f"patient:{n}", f"p{n}") for n in range(2000)]
    first, left, _ = placed(people)
    shuffled = random.Random(1).sample(people, len(people))
    again, _, _ = placed(shuffled[:500])
    assert left == []
    where = {p.identity: p.part for p in first}
    assert all(where[p.identity] is p.part for p in again)
    shares = {part: sum(p.part is part for p in first) / len(first) for part in Part}
    assert shares == pytest.approx({Part.TRAINING: 0.5, Part.VALIDATION: 0.2, Part.TEST: 0.3}, abs=0.03)
    other = {keyed(b"o" * 32, p.candidate.identity) for p in first}
    assert not other & set(where), "another cohort's key knows nobody by the same name"


def test_the_bounds_of_the_parts() -> None:
    assert part_of("0" * 32, Shares(validation=0, test=0)) is Part.TRAINING
    assert part_of("0" * 32, Shares(validation=0, test=0.1)) is Part.TEST
    assert part_of("f" * 32, Shares(validation=0.8, test=0.1)) is Part.TRAINING
    with pytest.raises(ValueError, match="too little"):
        Shares(validation=0.5, test=0.5)


def test_the_same_pictures_count_once() -> None:
    small, large, same, own = one("a", "1"), one("b", "1", "2"), one("c", "2", "1"), one("d", "2", "3")
    assert without_duplicates([small, large, same, own]) == ([large, own], [small, same])
    assert shared_by_several([small, large, same, own]) == {"1", "2"}
    assert shared_by_several([small, one("a", "1")]) == set()


def test_whoever_shares_a_picture_is_one_group_over_any_number_of_steps() -> None:
    chain = [one(f"patient:{n}", f"p{n}", f"p{n + 1}") for n in range(40)]
    alone = one("patient:alone", "q")
    found, _, _ = placed([*chain, alone])
    assert len({p.group for p in found[:-1]}) == 1
    assert len({p.part for p in found[:-1]}) == 1
    assert found[-1].group not in {p.group for p in found[:-1]}


def test_a_picture_without_content_joins_nobody() -> None:
    people = [one(f"patient:{n}", f"p{n}", "black") for n in range(40)]
    assert len({p.group for p in placed(people, blank=frozenset({"black"}))[0]}) == 40
    assert len({p.group for p in placed(people)[0]}) == 1


@pytest.mark.parametrize(("first", "second", "stays"), [
    (Part.TRAINING, Part.TEST, Part.TRAINING),
    (Part.TEST, Part.VALIDATION, Part.VALIDATION),
    (Part.VALIDATION, Part.TRAINING, Part.TRAINING),
])  # fmt: skip
def test_people_of_two_parts_who_turn_out_to_be_one(first: Part, second: Part, stays: Part) -> None:
    a, b = one("patient:a", "1"), one("patient:b", "2")
    bridge = one("patient:c", "1", "2", "3")
    fixed = {keyed(SECRET, a.identity): first, keyed(SECRET, b.identity): second}
    found, left, fresh = placed([a, b, bridge], fixed)
    assert left == [LeftOut.OTHER_PART]
    assert {p.part for p in found} == {stays}
    assert fresh == {keyed(SECRET, bridge.identity): stays}


def test_whoever_joins_a_group_later_goes_where_it_is() -> None:
    for n in range(20):
        old, new = one(f"patient:{n}", "1"), one(f"patient:new-{n}", "1", "2")
        for part in Part:
            found, left, _ = placed([old, new], {keyed(SECRET, old.identity): part})
            assert (left, {p.part for p in found}) == ([], {part})
