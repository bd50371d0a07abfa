"""Comparing label volumes without a volume in between, and counting in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_of", "differing"]


def differing(one: NDArray[Any], other: NDArray[Any], at_once: int = 2**22) -> NDArray[np.int64]:
    """Return the flat indices at which two flat volumes differ, without a volume in between."""
    parts = [
        np.flatnonzero(one[low : low + at_once] != other[low : low + at_once]) + low
        for low in range(0, one.size, at_once)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def count_of(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
