"""Proposals how the pieces of a broken vessel join (science §2.7).

From every free end of an island the most likely path runs to the other islands of its class in front of it::

    ═══════●→ ┄┄┄┄┄ ←●═══════      end to end: both must face the gap
    ═══════●→ ┄┄┄┄┄ ║              end to side: a branch and its parent
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from napari_kidnet.errors import SettingsError
from napari_kidnet.islands.growing import path_cost
from napari_kidnet.islands.history import Edit
from napari_kidnet.islands.sparse import coordinates
from napari_kidnet.islands.table import class_title
from napari_kidnet.islands.tubes import least_cost_path, tube

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Context, IslandTable

__all__ = ["Bridge", "BridgeSettings", "accept_bridges", "propose_bridges"]

_CANDIDATES_OF_AN_END: Final = 3
_UNKNOWN_PROBABILITY: Final = 0.5


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
        Of the two islands at the gap, for end to end.
    min_mean_probability : float
        Of the class, along the path; only where a prediction is given.
    min_voxels : int
        Smaller islands are noise rather than vessel.
    """

    max_gap_mm: float = 15.0
    max_angle_degrees: float = 60.0
    max_radius_ratio: float = 2.0
    min_mean_probability: float = 0.2
    min_voxels: int = 5

    def __post_init__(self) -> None:
        if self.max_gap_mm <= 0 or not 0 < self.max_angle_degrees <= 180 or self.max_radius_ratio < 1:
            raise SettingsError(
                "a bridge needs max_gap_mm above 0, max_angle_degrees up to 180, max_radius_ratio from 1."
            )
        if not 0 <= self.min_mean_probability <= 1:
            raise SettingsError(f"min_mean_probability is {self.min_mean_probability} where 0…1 is needed.")


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
        Length of the path between the islands; the worst of the facing ends; confidence in 0…1.
    """

    class_id: int
    islands: tuple[int, int]
    path: NDArray[np.int32]
    radii_mm: NDArray[np.float64]
    gap_mm: float
    angle_degrees: float
    mean_probability: float
    confidence: float


class _Pair(NamedTuple):
    rows: tuple[int, int]
    end: NDArray[np.int32]
    goal: NDArray[np.int32]
    angle: float
    radii: tuple[float, float]  # in mm, at both sides of the gap

    @property
    def ratio(self) -> float:
        return max(self.radii) / min(self.radii)


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
        for pair in _facing(table, rows, limits):
            bridge = _bridge(pair, table, labels, context, limits)
            if bridge is not None:
                found.append(bridge)
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


def _facing(table: IslandTable, rows: NDArray[np.int64], limits: BridgeSettings) -> list[_Pair]:
    """Return the pairs of an end and the nearest voxels of islands that it faces."""
    from scipy.spatial import cKDTree

    spacing = np.asarray(table.spacing)
    if len(rows) < 2:
        return []
    voxels = {row: coordinates(table.voxels_of(row), table.shape) for row in rows.tolist()}
    trees = {row: cKDTree(at * spacing) for row, at in voxels.items()}
    pairs = []
    for row in rows.tolist():
        for k, end in enumerate(table.end_points[row]):
            # The centre line stops about one radius before the surface.
            reach = limits.max_gap_mm + table.max_radius_mm[row]
            near = _near(table, rows, row, end * spacing, reach)
            options = []
            for other in near:
                distance, at = trees[other].query(end * spacing, distance_upper_bound=reach)
                if np.isfinite(distance):
                    options.append((float(distance), other, voxels[other][at]))
            options.sort(key=lambda option: option[0])
            for _, other, goal in options[:_CANDIDATES_OF_AN_END]:
                pair = _pair(table, (row, other), k, goal, limits)
                if pair is not None:
                    pairs.append(pair)
    return pairs


def _near(
    table: IslandTable, rows: NDArray[np.int64], row: int, point: NDArray[np.float64], reach: float
) -> list[int]:
    """Return the other rows whose box is within reach of a point in mm."""
    spacing = np.asarray(table.spacing)
    low, high = table.start[rows] * spacing, (table.stop[rows] - 1) * spacing
    away = np.linalg.norm(np.maximum(np.maximum(low - point, point - high), 0), axis=1)
    return [int(other) for other in rows[away <= reach].tolist() if other != row]


def _pair(
    table: IslandTable,
    rows: tuple[int, int],
    which_end: int,
    goal: NDArray[np.int32],
    limits: BridgeSettings,
) -> _Pair | None:
    """Apply the limits of angle and radius; aim at the other island's end where it is near its side."""
    row, other = rows
    end, direction = table.end_points[row][which_end], table.directions[row][which_end]
    thinnest = min(table.spacing) / 2
    radius = max(float(table.end_radii_mm[row][which_end]), thinnest)
    spacing = np.asarray(table.spacing)
    radius_back = radius  # a branch keeps its own width up to the side of a wider parent
    target = goal
    angle_back = 0.0
    ends = table.end_points[other]
    if len(ends):
        offset = np.linalg.norm((ends - goal) * spacing, axis=1)
        nearest = int(np.argmin(offset))
        if offset[nearest] <= 2 * table.mean_radius_mm[other] + 2 * max(table.spacing):
            target = ends[nearest]
            back = _angle(table.directions[other][nearest], (end - target) * spacing)
            angle_back = 0.0 if np.isnan(back) else back
            radius_back = max(float(table.end_radii_mm[other][nearest]), thinnest)
    angle = _angle(direction, (target - end) * spacing)
    worst = max(0.0 if np.isnan(angle) else angle, angle_back)
    pair = _Pair(rows, end, target, worst, (radius, radius_back))
    return pair if worst <= limits.max_angle_degrees and pair.ratio <= limits.max_radius_ratio else None


def _angle(direction: NDArray[np.float32], way: NDArray[np.float64]) -> float:
    """Return the angle in degrees; NaN where one of the two has no length."""
    lengths = float(np.linalg.norm(direction) * np.linalg.norm(way))
    if lengths == 0:
        return float("nan")
    return float(np.degrees(np.arccos(np.clip(float(direction @ way) / lengths, -1, 1))))


def _bridge(
    pair: _Pair, table: IslandTable, labels: NDArray[np.integer], context: Context, limits: BridgeSettings
) -> Bridge | None:
    spacing = np.asarray(table.spacing)
    class_id = int(table.class_id[pair.rows[0]])
    margin = np.ceil(4.0 / spacing).astype(int)
    low = np.maximum(np.minimum(pair.end, pair.goal) - margin, 0)
    high = np.minimum(np.maximum(pair.end, pair.goal) + margin + 1, table.shape)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    like = None
    if context.hu is not None:
        inside = np.concatenate([table.voxels_of(row)[:2000] for row in pair.rows])
        like = float(np.median(context.hu[np.unravel_index(inside, table.shape)]))
    cost = path_cost(context, class_id, box, like)
    near = labels[box]
    cost[(near != 0) & (near != class_id)] = np.inf
    path, _ = least_cost_path(cost, [pair.end - low], [pair.goal - low], table.spacing)
    if not path.size:
        return None
    across = np.flatnonzero(near[tuple(path.T)] == 0)
    if not across.size:
        return None
    first, last = max(int(across[0]) - 1, 0), min(int(across[-1]) + 1, len(path) - 1)
    gap = float(np.linalg.norm(np.diff(path[first : last + 1], axis=0) * spacing, axis=1).sum())
    probability = _mean_probability(path[across] + low, class_id, context)
    if gap > limits.max_gap_mm or (
        context.log_probabilities is not None and probability < limits.min_mean_probability
    ):
        return None
    way = float(np.linalg.norm((path[last] - path[first]) * spacing))
    return Bridge(
        class_id,
        (int(table.id[pair.rows[0]]), int(table.id[pair.rows[1]])),
        path[first : last + 1] + low.astype(np.int32),
        np.linspace(*pair.radii, last + 1 - first),
        gap,
        pair.angle,
        probability,
        _confidence(gap, pair, probability, way / max(gap, 1e-6), limits),
    )


def _mean_probability(path: NDArray[np.int64], class_id: int, context: Context) -> float:
    log = context.log_probabilities
    if log is None or class_id >= len(log):
        return _UNKNOWN_PROBABILITY
    return float(np.exp(log[(class_id, *path.T)].astype(np.float64)).mean())


def _confidence(
    gap: float, pair: _Pair, probability: float, straightness: float, limits: BridgeSettings
) -> float:
    """Return 1 for a short, straight, certain gap between equal ends, falling to 0 at the limits.

    A product of what argues for it; an order, not a calibrated probability.
    """
    close = 1 - 0.5 * gap / limits.max_gap_mm
    facing = 1 - 0.5 * pair.angle / limits.max_angle_degrees
    alike = 1 - 0.3 * np.log(pair.ratio) / max(np.log(limits.max_radius_ratio), 1e-6)
    return float(np.clip(close * facing * alike * straightness * np.sqrt(min(probability / 0.5, 1.0)), 0, 1))


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
