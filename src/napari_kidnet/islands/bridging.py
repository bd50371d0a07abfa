"""Proposals how the pieces of a broken vessel join (science §2.7).

Wherever two islands of a class come near each other, one of them as an end that faces the other, the cheapest
path through scan and probability joins them::

    ═══════●→ ┄┄┄┄┄ ←●═══════      end to end
    ═══════●→ ┄┄┄┄┄ ║              end to side: a branch and its parent
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from napari_kidnet.errors import SettingsError
from napari_kidnet.islands.facing import Approach, approaches
from napari_kidnet.islands.growing import COST_FLOOR, path_cost
from napari_kidnet.islands.history import Edit
from napari_kidnet.islands.table import class_title
from napari_kidnet.islands.tubes import least_cost_path, tube

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Context, IslandTable

__all__ = ["Bridge", "BridgeSettings", "accept_bridges", "propose_bridges"]

_UNKNOWN_PROBABILITY: Final = 0.5
_PATHS_OF_TWO: Final = 2
"""Of all places where two islands come near each other, the paths of so many are looked for."""
_BESIDE_MM: Final = 4.0


class _Weights(NamedTuple):
    """The logistic regression that turns what is seen of a gap into a confidence.

    Fitted on candidates of validation phantoms (seeds 500 to 511, all phases, three sources of anatomy): 213
    in truth that had gaps cut into it, and 917 between islands that the shipped checkpoint predicted, both
    kinds with the same weight. What is not known adds nothing, being at its mean.
    """

    base: float = 0.03
    gap_mm: float = -0.27
    detour: float = -2.53  # logarithm of the path over the gap
    ending: float = 1.84  # how much of an end, and how straight it faces: 0 … 1
    other: float = 2.87  # the same of the other side
    width: float = -0.38  # logarithm of the ratio of the radii
    unlike: float = -0.84  # in 60 HU, from 0.6
    share: float = 0.38  # logarithm of the probability over that of the pieces, from -1.5


_WEIGHTS: Final = _Weights()
_USUAL_UNLIKE, _USUAL_SHARE = 0.6, -1.5
_LEAST_SHARE: Final = -5.0


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """Which gaps are proposed.

    Attributes
    ----------
    max_gap_mm : float
        From surface to surface, along a straight line.
    max_angle_degrees : float
        Between an end's direction and the way across the gap.
    max_radius_ratio : float
        Of two ends that face each other; a branch may be thinner than its parent.
    min_probability_share : float
        Of the class along the path, over that in the pieces; only where a prediction is given. A vessel that
        the network hardly sees is as improbable in its gap as beside it.
    min_confidence : float
        What is less certain is not proposed.
    min_voxels : int
        Smaller islands are noise rather than vessel.
    """

    max_gap_mm: float = 15.0
    max_angle_degrees: float = 60.0
    max_radius_ratio: float = 3.0
    min_probability_share: float = 0.03
    min_confidence: float = 0.5
    min_voxels: int = 5

    def __post_init__(self) -> None:
        if self.max_gap_mm <= 0 or not 0 < self.max_angle_degrees <= 180 or self.max_radius_ratio < 1:
            raise SettingsError(
                "a bridge needs max_gap_mm above 0, max_angle_degrees up to 180, max_radius_ratio from 1."
            )
        for name in ("min_probability_share", "min_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)} where 0…1 is needed.")


@dataclass(frozen=True, slots=True)
class Bridge:
    """One proposed join.

    Attributes
    ----------
    class_id : int
    islands : tuple of int
        Ids of both islands; the first is the one whose end starts the path.
    path : ndarray of int32, (point, 3)
        From island to island, (z, y, x).
    radii_mm : ndarray of float64, (point,)
        Interpolated between both sides.
    gap_mm, angle_degrees, mean_probability, confidence : float
        Length of the path between the islands; of the end that faces the gap; of the class along the path
        (0.5 where none is known); chance of being right as it was on phantoms, 0…1.
    """

    class_id: int
    islands: tuple[int, int]
    path: NDArray[np.int32]
    radii_mm: NDArray[np.float64]
    gap_mm: float
    angle_degrees: float
    mean_probability: float
    confidence: float


def propose_bridges(
    table: IslandTable, labels: NDArray[np.integer], context: Context, settings: BridgeSettings | None = None
) -> list[Bridge]:
    """Return the joins that are worth showing, the most confident first.

    No two proposals close a ring: two islands that better bridges join already get no other one.

    Parameters
    ----------
    table : IslandTable
        With skeletons.
    labels : ndarray, (z, y, x)
        Of which the table is.
    context : Context
        Probabilities and the scan make the paths and the confidence better; neither is needed.
    """
    limits = settings or BridgeSettings()
    found = []
    for class_id in np.unique(table.class_id).tolist():
        rows = np.flatnonzero((table.class_id == class_id) & (table.voxels >= limits.min_voxels))
        for places in approaches(table, rows, limits.max_gap_mm):
            worth = sorted((each for each in places if _worth(each, context, limits)), key=_shape_logit)
            bridges = [_bridge(each, table, labels, context, limits) for each in worth[-_PATHS_OF_TWO:]]
            found += [bridge for bridge in bridges if bridge is not None]
    found.sort(key=lambda bridge: -bridge.confidence)
    return _without_rings(found)


def accept_bridges(
    labels: NDArray[np.integer], bridges: Sequence[Bridge], spacing: tuple[float, float, float]
) -> Edit:
    """Paint the tubes of bridges; other classes are not painted over."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    where, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for bridge in bridges:
        flat = tube(bridge.path, bridge.radii_mm, shape, spacing)
        flat = flat[labels[np.unravel_index(flat, shape)] == 0]
        where.append(flat)
        values.append(np.full(flat.size, bridge.class_id))
    names = " and ".join(class_title(each) for each in sorted({bridge.class_id for bridge in bridges}))
    plural = "" if len(bridges) == 1 else "s"
    what = f"Bridged {len(bridges)} gap{plural} of {names}"
    return Edit.of(labels, np.concatenate(where), np.concatenate(values), what)


def _shape_logit(place: Approach) -> float:
    """Return the part of the confidence that the islands' shapes alone decide."""
    ending = place.ending
    other = place.sides[1] if ending is place.sides[0] else place.sides[0]
    w = _WEIGHTS
    return (
        w.base
        + w.gap_mm * place.gap_mm
        + w.ending * ending.facing * _end_share(ending.tip)
        + w.other * max(other.facing, -0.5) * _end_share(other.tip)
        + w.width * min(float(np.log(place.radius_ratio)), 2.0)
    )


def _end_share(tip: float) -> float:
    return 2 * min(tip, 0.5)


def _worth(place: Approach, context: Context, limits: BridgeSettings) -> bool:
    """Say whether a path is worth looking for: within the limits, and the best of paths would be proposed."""
    if place.ending.facing < np.cos(np.radians(limits.max_angle_degrees)):
        return False
    both_end = min(_end_share(side.tip) for side in place.sides) > 0.8
    if both_end and place.radius_ratio > limits.max_radius_ratio:
        return False
    best = _shape_logit(place)
    best += 0.0 if context.hu is None else -_WEIGHTS.unlike * _USUAL_UNLIKE
    best += 0.0 if context.log_probabilities is None else -_WEIGHTS.share * _USUAL_SHARE
    return _logistic(best) >= limits.min_confidence


def _bridge(
    place: Approach, table: IslandTable, labels: NDArray[np.integer], context: Context, limits: BridgeSettings
) -> Bridge | None:
    spacing = np.asarray(table.spacing)
    class_id = int(table.class_id[place.rows[0]])
    start, goal = (side.voxel for side in place.sides)
    margin = np.ceil(_BESIDE_MM / spacing).astype(int)
    low = np.maximum(np.minimum(start, goal) - margin, 0)
    high = np.minimum(np.maximum(start, goal) + margin + 1, table.shape)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    near, like = labels[box], _hu_of_pieces(place, class_id, labels, context)
    cost = path_cost(context, class_id, box, like)
    cost[near == class_id] = COST_FLOOR
    cost[(near != 0) & (near != class_id)] = np.inf
    path, _ = least_cost_path(cost, [start - low], [goal - low], table.spacing)
    across = np.flatnonzero(near[tuple(path.T)] == 0)
    if not across.size:
        return None
    first, last = max(int(across[0]) - 1, 0), min(int(across[-1]) + 1, len(path) - 1)
    steps = np.linalg.norm(np.diff(path, axis=0) * spacing, axis=1)
    gap = float(steps[first:last].sum())
    between = tuple((path[across] + low).T)
    probability, share = _probability(between, place, table, context)
    if gap > limits.max_gap_mm or share < np.log(max(limits.min_probability_share, 1e-9)):
        return None
    logit = _shape_logit(place) + _WEIGHTS.detour * max(
        float(np.log(steps.sum() / max(place.gap_mm, 0.5))), 0.0
    )
    if context.hu is not None and like is not None:
        unlike = float(np.abs(context.hu[between].astype(np.float32) - like).mean()) / 60
        logit += _WEIGHTS.unlike * (min(unlike, 3.0) - _USUAL_UNLIKE)
    if context.log_probabilities is not None:
        logit += _WEIGHTS.share * (max(share, _LEAST_SHARE) - _USUAL_SHARE)
    if _logistic(logit) < limits.min_confidence:
        return None
    return Bridge(
        class_id,
        (int(table.id[place.rows[0]]), int(table.id[place.rows[1]])),
        path[first : last + 1] + low.astype(np.int32),
        _radii(place, last + 1 - first, limits),
        gap,
        float(np.degrees(np.arccos(np.clip(place.ending.facing, -1, 1)))),
        probability,
        _logistic(logit),
    )


def _hu_of_pieces(
    place: Approach, class_id: int, labels: NDArray[np.integer], context: Context
) -> float | None:
    """Return the HU of the class next to the gap, of both sides alike."""
    if context.hu is None:
        return None
    reach = np.ceil(_BESIDE_MM / np.asarray(context.spacing)).astype(int)
    medians = []
    for side in place.sides:
        low, high = np.maximum(side.voxel - reach, 0), side.voxel + reach + 1
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        medians.append(float(np.median(context.hu[box][labels[box] == class_id])))
    return float(np.mean(medians))


def _probability(
    between: tuple[NDArray[np.integer], ...], place: Approach, table: IslandTable, context: Context
) -> tuple[float, float]:
    """Return the mean probability along a path, and the logarithm of its share of the pieces' own."""
    log, class_id = context.log_probabilities, int(table.class_id[place.rows[0]])
    if log is None or class_id >= len(log):
        return _UNKNOWN_PROBABILITY, 0.0
    mean = float(np.exp(log[(class_id, *between)].astype(np.float64)).mean())
    pieces = np.nan_to_num(table.mean_probability[list(place.rows)], nan=1.0).min()
    return mean, min(float(np.log(max(mean, 1e-4) / max(pieces, 1e-4))), 0.0)


def _radii(place: Approach, points: int, limits: BridgeSettings) -> NDArray[np.float64]:
    """Return the radius at each point, from one side's to the other's; a branch keeps its own."""
    one, other = (side.radius_mm for side in place.sides)
    if place.radius_ratio > limits.max_radius_ratio:
        return np.full(points, min(one, other))
    return np.linspace(one, other, points)


def _logistic(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _without_rings(bridges: list[Bridge]) -> list[Bridge]:
    parent: dict[int, int] = {}

    def root(island: int) -> int:
        while parent.get(island, island) != island:
            island = parent[island]
        return island

    kept = []
    for bridge in bridges:
        one, other = (root(island) for island in bridge.islands)
        if one != other:
            parent[one] = other
            kept.append(bridge)
    return kept
