"""Vessel trees grown towards target points, with calibres by Murray's law.

The targets are split again and again along their longest axis; each part gets a branch whose radius follows
from its share of the targets, ``r_child = r · (n_child / n)^(1/m)``, so that ``Σ r_child^m = r^m`` at every
branching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.tubes import Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TreeSettings", "grow_tree", "moved", "spread", "unit"]


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """How a tree grows.

    Attributes
    ----------
    murray_exponent : float
        m of Murray's law, 2 to 4; 2.7–3.0 in kidneys.
    least_radius_mm : float
        No branch is thinner than this: growing stops before.
    tortuosity : float
        Sideways bend of a branch as a share of its length, 0 to 1.
    jitter_mm : float
        Standard deviation of a branching's place, in mm.
    branch_at : float
        Where a branch divides, as a share of the way from its root to its targets' middle, in (0, 1).
    tip_taper : float
        Radius at the very tip as a share of the radius of the last branch, in (0, 1].
    """

    murray_exponent: float = 2.85
    least_radius_mm: float = 0.35
    tortuosity: float = 0.12
    jitter_mm: float = 1.2
    branch_at: float = 0.45
    tip_taper: float = 0.6

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name, low, high in (
            ("murray_exponent", 2.0, 4.0),
            ("least_radius_mm", 0.05, 5.0),
            ("tortuosity", 0.0, 1.0),
            ("jitter_mm", 0.0, 10.0),
            ("branch_at", 0.05, 0.95),
            ("tip_taper", 0.05, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"TreeSettings.{name} is {value}; it must lie in {low} to {high}.")


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vector (…, 3) at length one; a zero vector stays zero."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    result: NDArray[np.float64] = vector / np.maximum(length, 1e-9)
    return result


def grow_tree(
    root_mm: NDArray[np.float64],
    direction: NDArray[np.float64],
    targets_mm: NDArray[np.float64],
    root_radius_mm: float,
    rng: np.random.Generator,
    settings: TreeSettings | None = None,
) -> list[Segment]:
    """Grow a tree from a root to targets.

    Parameters
    ----------
    root_mm, direction : float array (3,)
        Where the tree starts and the way it leaves, (z, y, x) in mm.
    targets_mm : float array (n, 3)
        Points that the tips reach, in mm.
    root_radius_mm : float
        Radius at the root, in mm.
    rng : numpy Generator
        Source of all randomness.
    settings : TreeSettings, optional
        How the tree grows.

    Returns
    -------
    list of Segment
        Parents before children; a child starts at the exact point where its parent ends.
    """
    settings = settings or TreeSettings()
    segments: list[Segment] = []
    root = np.asarray(root_mm, np.float64)
    waiting = [
        (root, unit(np.asarray(direction, np.float64)), np.asarray(targets_mm, np.float64), root_radius_mm)
    ]
    while waiting:
        start, heading, targets, radius = waiting.pop()
        if len(targets) == 0:
            continue
        parts = _split(targets, rng) if len(targets) > 1 else []
        radii = [radius * (len(part) / len(targets)) ** (1.0 / settings.murray_exponent) for part in parts]
        if not parts or min(radii) < settings.least_radius_mm:
            middle = targets.mean(axis=0)
            end = targets[np.argmin(np.linalg.norm(targets - middle, axis=1))]
            tip = max(radius * settings.tip_taper, min(radius, settings.least_radius_mm))
            segments.append(_bezier(start, heading, end, (radius, tip), rng, settings))
            continue
        way = targets.mean(axis=0) - start
        share = np.clip(settings.branch_at + rng.normal(0.0, 0.08), 0.05, 0.9)
        end = (
            start
            + share * way
            + rng.normal(0.0, settings.jitter_mm, 3) * min(1.0, float(np.linalg.norm(way)) / 15.0)
        )
        branch = _bezier(start, heading, end, (radius, radius), rng, settings)
        segments.append(branch)
        onward = unit(branch.points_mm[-1] - branch.points_mm[-2])
        for part, child in zip(parts, radii, strict=True):
            aim = unit(unit(part.mean(axis=0) - end) + 0.5 * onward)
            waiting.append((branch.points_mm[-1], aim, part, child))
    return segments


def _split(targets: NDArray[np.float64], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Cut targets (n, 3) in two across their longest axis, near the middle."""
    centred = targets - targets.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    order = np.argsort(centred @ axis, kind="stable")
    cut = int(np.clip(round(len(targets) * rng.uniform(0.3, 0.7)), 1, len(targets) - 1))
    return [targets[order[:cut]], targets[order[cut:]]]


def _bezier(
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    end: NDArray[np.float64],
    radii: tuple[float, float],
    rng: np.random.Generator,
    settings: TreeSettings,
) -> Segment:
    """Return a cubic Bézier path that leaves along ``heading`` and bends at random."""
    length = float(np.linalg.norm(end - start))
    sway = rng.normal(0.0, settings.tortuosity * length, (2, 3))
    first = start + heading * length * 0.33 + sway[0]
    second = end - (end - first) * 0.33 + sway[1]
    count = int(np.clip(length / 2.0, 3, 24))
    t = np.linspace(0.0, 1.0, count)[:, None]
    points = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3 * end
    points[0], points[-1] = start, end
    return Segment(points, np.linspace(radii[0], radii[1], count))


def moved(point_mm: NDArray[np.float64], z: float, y: float, x: float) -> NDArray[np.float64]:
    """Return a point moved by (z, y, x) mm."""
    result: NDArray[np.float64] = point_mm + np.array([z, y, x])
    return result


def spread(points: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Choose points (count, 3) that lie far from each other, at random among many."""
    pool = points[rng.integers(len(points), size=min(len(points), 30 * count))]
    chosen = [pool[0]]
    nearest = np.linalg.norm(pool - pool[0], axis=1)
    while len(chosen) < min(count, len(pool)):
        # Not the very farthest: an even lattice of vessels is no kidney's.
        best = pool[rng.choice(np.argsort(nearest)[-max(3, len(pool) // 20) :])]
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(pool - best, axis=1))
    return np.stack(chosen)
