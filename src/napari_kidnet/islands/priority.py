"""Which island to look at next: the one with the most wrong volume to be expected, and why, in words.

The score of an island is its volume times the share of it that is expected to be wrong (science §2.6). A
loose island is wrong as a whole or not at all: each reason for doubt adds its share to that chance as if it
were independent of the others, 1 - Π(1 - weight · doubt). A trunk is wrong in parts: where the network is
unsure.

On validation phantoms being loose is nearly all that tells (benchmarks/priority_fit.py, docs/effort.md).
The other reasons keep small weights, for what phantoms do not hold: blobs of bowel, rims of bone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from napari_kidnet.islands.table import class_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands.bridging import Bridge
    from napari_kidnet.islands.table import IslandTable

__all__ = ["Review", "ReviewWeights", "doubt_degrees", "review_order"]

_TRUNK_OF: Final = {1: "the aorta", 2: "the vena cava", 3: "the renal pelvis"}
_TELLING: Final = 0.25
"""A doubt is put into words from here on."""
_SHAPELESS_VOXELS: Final = 20
"""Smaller islands are neither round nor long."""
_FAR_MM: Final = 40.0
"""Vessels further from the trunk than this were left out by the paper's annotators (science §3.1)."""
_GAP_BONUS_ML: Final = 0.05
"""A gap that can be bridged is worth a look, however small its island is."""


@dataclass(frozen=True, slots=True)
class ReviewWeights:
    """How much each reason for doubt counts, 0…1: the chance that an island is wrong if nothing else is.

    Attributes
    ----------
    any : float
        Of every island.
    loose, far : float
        Not connected to the trunk of its class; far from it.
    unsure, improbable : float
        By the network's own account.
    thick, round : float
        Of a loose island: thicker than a loose vessel is, round and not a tube.
    touching : float
        It touches another class.
    unsure_part : float
        A trunk's share of wrong voxels over its mean uncertainty.
    """

    any: float = 0.05
    loose: float = 0.6
    far: float = 0.1
    unsure: float = 0.15
    improbable: float = 0.15
    thick: float = 0.1
    round: float = 0.1
    touching: float = 0.1
    unsure_part: float = 0.35


@dataclass(frozen=True, slots=True)
class Review:
    """The order of review.

    Attributes
    ----------
    rows : ndarray of int64
        Rows of the table, the one to review first at the front.
    chance_wrong, score_ml : ndarray of float64, (row of the table,)
        Share of the island that is expected to be wrong, 0…1; expected wrong volume.
    reasons : tuple of str
        Per row of the table: "not connected to the aorta; disagreement high".
    """

    rows: NDArray[np.int64]
    chance_wrong: NDArray[np.float64]
    score_ml: NDArray[np.float64]
    reasons: tuple[str, ...]


def review_order(
    table: IslandTable, bridges: Sequence[Bridge] = (), weights: ReviewWeights | None = None
) -> Review:
    """Order the islands by expected wrong volume.

    Parameters
    ----------
    table : IslandTable
    bridges : sequence of Bridge
        Proposals; their islands come a little earlier, and say so.
    weights : ReviewWeights, optional
        How much each reason counts.

    Examples
    --------
    >>> from napari_kidnet.islands import find_islands
    >>> labels = np.ones((1, 1, 60), np.uint8)
    >>> labels[..., 50:57] = 0
    >>> review = review_order(find_islands(labels))
    >>> review.rows.tolist(), review.reasons
    ([1, 0], ('the trunk of its class', 'not connected to the aorta'))
    """
    n = len(table)
    weights = weights or ReviewWeights()
    loose = ~table.rooted
    certain = np.ones(n)
    words: list[list[str]] = [[] for _ in range(n)]
    for doubt in _doubts(table):
        certain *= 1 - getattr(weights, doubt.name) * doubt.degree
        for row in np.flatnonzero(doubt.degree >= _TELLING).tolist():
            if doubt.said[row]:
                words[row].append(doubt.said[row])
    unknown = np.isnan(table.uncertainty)
    in_parts = np.where(unknown, 0.1 * (1 - certain), weights.unsure_part * table.uncertainty)
    chance = np.where(loose, 1 - certain, in_parts)
    score = chance * table.volume_ml
    gaps = np.zeros(n, bool)
    for bridge in bridges:
        for island in bridge.islands:
            gaps |= (table.id == island) & loose
    score[gaps] += _GAP_BONUS_ML
    for row in range(n):
        if gaps[row]:
            words[row].append("a gap that can be bridged")
        if not words[row]:
            words[row].append("nothing speaks against it" if loose[row] else "the trunk of its class")
    order = np.lexsort((np.arange(n), -score))
    return Review(order, chance, score, tuple("; ".join(each) for each in words))


def doubt_degrees(table: IslandTable) -> dict[str, NDArray[np.float64]]:
    """Return how far each reason for doubt holds, 0…1 (row,), by its name in `ReviewWeights`."""
    return {doubt.name: doubt.degree for doubt in _doubts(table)}


class _Doubt(NamedTuple):
    name: str  # of its weight
    degree: NDArray[np.float64]  # (row,), 0 none … 1 full
    said: list[str]


def _doubts(table: IslandTable) -> list[_Doubt]:
    n = len(table)
    loose = ~table.rooted
    classes = table.class_id.tolist()
    blank = [""] * n
    trunk = [f"not connected to {_TRUNK_OF.get(each, 'the largest of its class')}" for each in classes]
    far = [
        f"{mm:.0f} mm from {_TRUNK_OF.get(each, 'it')}"
        for mm, each in zip(table.distance_mm, classes, strict=True)
    ]
    thickness = 2 * np.maximum(table.max_radius_mm, 0.1)
    # NaN, of what nobody measured, compares false and so is no doubt.
    round_ = np.where((table.length_mm / thickness < 1.5) & (table.voxels > _SHAPELESS_VOXELS), 1.0, 0.0)
    touching = [sorted(each) for each in table.neighbours]
    names = ["touches " + " and ".join(class_title(other) for other in each) for each in touching]
    unsure, improbable = _ramp(table.uncertainty, 0.1, 0.5), _ramp(-table.mean_probability, -0.9, -0.4)
    thick = np.where(loose, _ramp(table.max_radius_mm, 3, 7), 0.0)
    return [
        _Doubt("any", np.ones(n), blank),
        _Doubt("loose", loose.astype(np.float64), trunk),
        _Doubt("far", np.where(loose, np.clip(table.distance_mm / _FAR_MM, 0, 1), 0.0), far),
        _Doubt("unsure", unsure, ["disagreement high"] * n),
        _Doubt("improbable", improbable, ["probability low"] * n),
        _Doubt("thick", thick, ["thicker than a loose vessel"] * n),
        _Doubt("round", np.where(loose, round_, 0.0), ["round, not a tube"] * n),
        _Doubt("touching", np.array([bool(each) for each in touching], np.float64), names),
    ]


def _ramp(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return 0 below low, 1 above high, straight between, and 0 where nothing is known."""
    return np.asarray(np.nan_to_num(np.clip((values - low) / (high - low), 0, 1), nan=0.0))
