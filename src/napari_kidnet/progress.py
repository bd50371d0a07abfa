"""How long work reports itself: a generator of ``Progress``, with the result as its return value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Progress", "drain", "retell"]

T = TypeVar("T")
P = TypeVar("P", bound="Progress")


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of long work.

    Attributes
    ----------
    done, total : int
        Steps finished, and steps in all; the total is known from the first report on.
    what : str
        What is being done, for a person.
    """

    done: int
    total: int
    what: str


def drain(steps: Generator[object, None, T]) -> T:
    """Run a generator of progress to its end and return its result.

    Examples
    --------
    >>> def work():
    ...     yield Progress(1, 1, "working")
    ...     return 42
    >>> drain(work())
    42
    """
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


def retell(steps: Generator[Progress, None, T], tell: Callable[[Progress], P]) -> Generator[P, object, T]:
    """Run work inside other work: tell each of its steps in the words of the whole, return its result.

    Closing this closes the work inside.

    Examples
    --------
    >>> def inner():
    ...     yield Progress(1, 2, "tile")
    ...     return 42
    >>> steps = retell(inner(), lambda step: Progress(7, 9, f"measuring: {step.what}"))
    >>> next(steps), drain(steps)
    (Progress(done=7, total=9, what='measuring: tile'), 42)
    """
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            yield tell(step)
    finally:
        steps.close()
