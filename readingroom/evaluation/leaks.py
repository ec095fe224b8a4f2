"""The one check that no patient is on two sides of a split. Training and cohorts call it; a test calls it for every
reader."""

from collections.abc import Hashable, Iterable, Mapping

from readingroom.core.errors import BadInput


class LeakFound(BadInput):
    """A patient (or the group declared) is in two parts of a split: whatever is measured on it would be too good."""


def check_no_leak(parts: Mapping[str, Iterable[Hashable]]) -> None:
    """Raise LeakFound where a group is in two of ``parts`` (name -> groups). It says how many and where, never who."""
    names = list(parts)
    members = {name: set(parts[name]) for name in names}
    for n, first in enumerate(names):
        for second in names[n + 1 :]:
            shared = len(members[first] & members[second])
            if shared:
                raise LeakFound(
                    f"{shared} of the patients of '{first}' ({len(members[first])}) are also in '{second}' "
                    f"({len(members[second])}).",
                    "Split by patient, so that each is in one part only.",
                )
