"""Long work that gives way: in a thread of its own, whose priority is lower than the window's."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["giving_way_steps"]

T = TypeVar("T")
R = TypeVar("R")

_NICE: Final = 5
"""Added for the thread and those it starts, PyTorch's too, where threads have their own priority (Linux):
a third of the share of others, so that it still goes on beside what a person has running."""


def giving_way_steps(steps: Generator[T, Any, R]) -> Generator[T, Any, R]:
    """Run a generator's steps in a thread of low priority; what is sent, raised and returned passes through.

    The thread ends with the generator: its priority could not be raised again.

    Examples
    --------
    >>> def echo():
    ...     got = yield "ready"
    ...     return got
    >>> steps = giving_way_steps(echo())
    >>> next(steps)
    'ready'
    >>> try:
    ...     steps.send("said")
    ... except StopIteration as stop:
    ...     stop.value
    'said'
    """
    with ThreadPoolExecutor(1, "kidnet-gives-way", _lower) as thread:
        try:
            sent: Any = None
            while True:
                told = thread.submit(_next, steps, sent).result()
                if isinstance(told, _Over):
                    return told.result  # type: ignore[no-any-return]
                sent = yield told
        finally:
            thread.submit(steps.close).result()


class _Over:
    """A `StopIteration`, which no future can hold."""

    def __init__(self, result: Any) -> None:
        self.result = result


def _next(steps: Generator[T, Any, Any], sent: Any) -> T | _Over:
    try:
        return steps.send(sent)
    except StopIteration as stop:
        return _Over(stop.value)


def _lower() -> None:
    if sys.platform == "linux":  # elsewhere this would be the priority of a process
        with contextlib.suppress(OSError):
            mine = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, mine, os.getpriority(os.PRIO_PROCESS, mine) + _NICE)
