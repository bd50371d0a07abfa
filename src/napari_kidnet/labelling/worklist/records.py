"""What is known of one scan of a worklist, and how two people's knowledge of it becomes one.

A record has three parts, each with the moment at which it was last set: the state, the prediction, the
review. Of two versions of a part the later one counts, so merging is commutative, associative and
idempotent: whoever merges whatever in whichever order arrives at the same, and nothing that was said
later is undone by somebody who did not know of it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PARTS",
    "PredictionPart",
    "Record",
    "ReviewPart",
    "StatePart",
    "WorkState",
    "later",
    "merge",
    "now",
]


class WorkState(StrEnum):
    """How far the work on a scan is."""

    NEW = "new"
    PREDICTED = "predicted"
    IN_WORK = "in work"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class StatePart:
    """What a person, or the machine for a prediction, said last."""

    at: str
    value: WorkState

    def __post_init__(self) -> None:
        _check_moment(self.at)
        object.__setattr__(self, "value", WorkState(self.value))


@dataclass(frozen=True, slots=True)
class PredictionPart:
    """What a network's run left, or why it failed.

    Attributes
    ----------
    at : str
        UTC.
    expected_wrong_ml : float or None
        See `benefit`; None where it failed.
    entropy : float or None
        Mean over the labelled voxels, 0…1.
    islands : int or None
        How many it left.
    checkpoint : str
        Its file's name.
    problem : str
        The sentence of a failure; empty where there was none.
    """

    at: str
    expected_wrong_ml: float | None = None
    entropy: float | None = None
    islands: int | None = None
    checkpoint: str = ""
    problem: str = ""

    def __post_init__(self) -> None:
        _check_moment(self.at)
        for value in (self.expected_wrong_ml, self.entropy):
            _check_number(value)
        _check_number(self.islands)
        _check_text(self.checkpoint, self.problem)


@dataclass(frozen=True, slots=True)
class ReviewPart:
    """How much a person had judged when the labels were last saved.

    Attributes
    ----------
    at : str
        UTC.
    share : float or None
        Of the labelled voxels, 0…1; None where nothing is labelled.
    islands, islands_left : int
        All, and those that are not wholly judged.
    """

    at: str
    share: float | None
    islands: int
    islands_left: int

    def __post_init__(self) -> None:
        _check_moment(self.at)
        _check_number(self.share)
        for value in (self.islands, self.islands_left):
            _check_number(value)
            if not isinstance(value, int):
                raise ValueError("a number of islands is a whole number")


Part = TypeVar("Part", StatePart, PredictionPart, ReviewPart)


@dataclass(frozen=True, slots=True)
class Record:
    """All that a worklist knows of a scan."""

    state: StatePart | None = None
    prediction: PredictionPart | None = None
    review: ReviewPart | None = None

    def merged(self, other: Record) -> Record:
        """Return the later of each part."""
        return Record(
            _latest(self.state, other.state),
            _latest(self.prediction, other.prediction),
            _latest(self.review, other.review),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the parts that are known, as plain values."""
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: asdict(part) for name, part in parts.items() if part is not None}

    @classmethod
    def from_dict(cls, entry: Any) -> Record:
        """Return the record of plain values.

        Raises
        ------
        ValueError
            They are not what `as_dict` returns.
        """
        if not isinstance(entry, dict):
            raise ValueError("a scan's entry is not an object")
        return cls(**{name: part_from(name, entry[name]) for name in PARTS if name in entry})


PARTS: Final[Mapping[str, Any]] = {
    "state": StatePart,
    "prediction": PredictionPart,
    "review": ReviewPart,
}
"""The parts by their names."""


def part_from(name: str, values: Any) -> Any:
    """Return one part of plain values; keys that are not known are left out.

    Raises
    ------
    ValueError
        They are not such a part.
    """
    kind = PARTS[name]
    if not isinstance(values, dict):
        raise ValueError(f"{name} is not an object")
    known = {each.name for each in fields(kind)}
    try:
        return kind(**{key: value for key, value in values.items() if key in known})
    except TypeError as error:
        raise ValueError(f"{name} lacks a value") from error


def merge(one: Mapping[str, Record], other: Mapping[str, Record]) -> dict[str, Record]:
    """Return what both know, by scan.

    Examples
    --------
    >>> early, late = "2026-11-25T02:00:00.000000+00:00", "2026-11-25T03:00:00.000000+00:00"
    >>> here = {"a": Record(StatePart(early, WorkState.IN_WORK)), "b": Record()}
    >>> there = {"a": Record(StatePart(late, WorkState.DONE))}
    >>> merge(here, there)["a"].state.value.value, sorted(merge(here, there))
    ('done', ['a', 'b'])
    """
    nothing = Record()
    keys = sorted({*one, *other})
    return {key: one.get(key, nothing).merged(other.get(key, nothing)) for key in keys}


def now() -> str:
    """Return this moment, UTC, in a form that sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def later(*parts: StatePart | PredictionPart | ReviewPart | None) -> str:
    """Return this moment, or just after the last of these parts where a clock was ahead of ours."""
    moment = now()
    for part in parts:
        if part is not None and part.at >= moment:
            try:
                after = datetime.fromisoformat(part.at) + timedelta(microseconds=1)
            except OverflowError:
                return part.at
            moment = after.isoformat(timespec="microseconds")
    return moment


def _latest(one: Part | None, other: Part | None) -> Part | None:
    if one is None or other is None:
        return one or other
    # Two that were said in the same microsecond: any rule will do that is the same everywhere.
    return max(one, other, key=lambda part: (part.at, json.dumps(asdict(part), sort_keys=True)))


def _check_moment(at: object) -> None:
    if not isinstance(at, str):
        raise ValueError("a moment is not text")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None or moment.astimezone(UTC).isoformat(timespec="microseconds") != at:
        raise ValueError(f"{at} is not a moment in UTC with microseconds")


def _check_number(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is not a number from 0 on")


def _check_text(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise ValueError("a name is not text")
