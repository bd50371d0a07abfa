"""Which scan comes next: the one that a person gains most by, or simply the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_kidnet.labelling.worklist.records import WorkState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_kidnet.labelling.worklist.rows import Row

__all__ = ["next_row"]


def next_row(
    rows: Sequence[Row],
    by: Literal["benefit", "order"],
    current: str | None = None,
    visited: Collection[str] = (),
) -> Row | None:
    """Return the scan to open next, of those that are neither done nor open; None where there is none.

    By benefit: first what was begun, then the predicted ones by the wrong volume to be expected, largest
    first, then those of which nothing is known; and after all of these, what was opened and left already.
    By order: the next one in the list, whose end meets its start.

    Examples
    --------
    >>> from napari_kidnet.labelling.worklist.rows import Row
    >>> rows = [Row("a", None, WorkState.PREDICTED, expected_wrong_ml=1.0),
    ...         Row("b", None, WorkState.PREDICTED, expected_wrong_ml=4.0), Row("c", None, WorkState.NEW)]
    >>> next_row(rows, "benefit").key, next_row(rows, "order", "b").key, next_row(rows, "benefit", "b").key
    ('b', 'c', 'a')
    """
    at = next((index for index, row in enumerate(rows) if row.key == current), -1)
    order = [*range(at + 1, len(rows)), *range(max(at, 0))]
    waiting = [each for each in order if rows[each].state is not WorkState.DONE and not rows[each].blocked]
    if not waiting:
        return None

    def rank(index: int) -> tuple[bool, bool, float, int]:
        row = rows[index]
        benefit = row.benefit_ml
        unknown_last = 1.0 if benefit is None else -benefit
        return (row.key in visited, row.state is not WorkState.IN_WORK, unknown_last, index)

    return rows[waiting[0] if by == "order" else min(waiting, key=rank)]
