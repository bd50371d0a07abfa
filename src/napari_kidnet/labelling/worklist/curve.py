"""Whether the loop gets cheaper: minutes and actions of each finished scan, in the order of finishing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_kidnet.labelling.worklist.activity import Tuning
    from napari_kidnet.labelling.worklist.rows import Row

__all__ = ["Curve", "TuningMark", "curve_of"]


@dataclass(frozen=True, slots=True)
class TuningMark:
    """A fine-tuning in the curve.

    Attributes
    ----------
    after : int
        How many scans were finished before it.
    checkpoint : str
        Its file's name.
    activated : bool
        Whether it came into use.
    """

    after: int
    checkpoint: str
    activated: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """One point for each finished scan.

    Attributes
    ----------
    scans : tuple of str
    minutes : tuple of float
    actions : tuple of int
    tunings : tuple of TuningMark
    """

    scans: tuple[str, ...]
    minutes: tuple[float, ...]
    actions: tuple[int, ...]
    tunings: tuple[TuningMark, ...]

    @property
    def in_words(self) -> str:
        """What the curve shows, in a sentence.

        Examples
        --------
        >>> Curve(("a", "b"), (10.0, 4.0), (50, 20), ()).in_words
        '2 scans are done: the first took 10.0 min and 50 actions, the last 4.0 min and 20 actions.'
        """
        if not self.scans:
            return "No scan is done yet: minutes and actions of each are shown here when one is."
        if len(self.scans) == 1:
            return f"1 scan is done: it took {self.minutes[0]:.1f} min and {_actions(self.actions[0])}."
        first, last = (f"{self.minutes[at]:.1f} min and {_actions(self.actions[at])}" for at in (0, -1))
        return f"{len(self.scans)} scans are done: the first took {first}, the last {last}."


def curve_of(rows: Iterable[Row], tunings: Sequence[Tuning]) -> Curve:
    """Return the curve of a worklist's rows and fine-tunings.

    A checkpoint that did not come into use at once, and later did, is marked where it did.
    """
    done = sorted((row for row in rows if row.done_at), key=lambda row: row.done_at)
    later = {each.checkpoint: each.at for each in tunings if each.activated}
    marks = tuple(
        TuningMark(sum(row.done_at < each.at for row in done), each.checkpoint, each.activated)
        for each in tunings
        if each.activated or later.get(each.checkpoint, "") < each.at
    )
    return Curve(
        tuple(row.key for row in done),
        tuple(row.minutes for row in done),
        tuple(row.actions for row in done),
        marks,
    )


def _actions(count: int) -> str:
    return f"{count} action{'' if count == 1 else 's'}"
