"""What changed between two revisions, in the words of tasks."""

import pytest

from readingroom.workflow.revise import kinds_of_change


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([], [], {}),
        ([[1, 1]], [[1, 1], [2, 1], [3, 1]], {"late-images": 2}),
        ([[1, 1], [2, 1]], [[1, 1]], {"image-rejected": 1}),
        ([[1, 1], [2, 1]], [[1, 1], [2, 2]], {"correction-after-signing": 1}),
        (
            [[1, 1], [2, 1]],
            [[2, 3], [4, 1]],
            {"late-images": 1, "image-rejected": 1, "correction-after-signing": 1},
        ),
    ],
)
def test_kinds_of_change(before: list[list[int]], after: list[list[int]], kinds: dict[str, int]) -> None:
    assert kinds_of_change(before, after) == kinds
