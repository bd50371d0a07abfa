"""Labels as a person makes them: near the kidneys, in pieces, with thin branches missing.

The paper's ground truth has some 12 islands a scan; its far vessels and thin branches are typically missing.
A phantom has the complete truth as well, and so the two can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cc3d
import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_kidnet.phantom.splines import smooth_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["human_annotation"]

_FEWEST, _MOST = 6, 20
_CROWD: Final = 40
"""Smallest island in voxels that a person would leave standing."""


def human_annotation(
    truth: NDArray[np.uint8],
    kidneys: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return an annotation such as a person makes of this truth.

    Far vessels are left out, the ureter ends some centimetres below the hilum, thin branches are missed the
    more often the thinner they are, gaps of 3–8 mm cut what is left, and borders wander by half a voxel.

    Parameters
    ----------
    truth : uint8 array (z, y, x)
        Complete classes.
    kidneys : uint8 array (z, y, x)
        1 left, 2 right.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    uint8 array (z, y, x)
        Classes; 6 to 20 islands, 12 on average, where the truth has enough vessel for it.
    """
    wanted = int(np.clip(rng.poisson(12), _FEWEST, _MOST))
    annotation = _near(truth, kidneys, spacing, rng)
    where = np.nonzero(annotation)
    if not len(where[0]):
        return annotation
    box = tuple(slice(max(0, int(w.min()) - 4), int(w.max()) + 5) for w in where)
    part = np.ascontiguousarray(annotation[box])
    _miss_thin(part, spacing, rng)
    _roughen(part, spacing, rng)
    _to_islands(part, spacing, wanted, rng)
    annotation[box] = part
    return annotation


def _near(
    truth: NDArray[np.uint8],
    kidneys: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Keep vessels 35–60 mm about the kidneys, their levels ± 15–30 mm, and the ureter's first stretch."""
    if not kidneys.any():
        return truth.copy()
    step = [max(1, round(3.0 / s)) for s in spacing]
    coarse = kidneys[:: step[0], :: step[1], :: step[2]] > 0
    away = distance_transform_edt(~coarse, sampling=[s * n for s, n in zip(spacing, step, strict=True)])
    near = away.astype(np.float32).repeat(step[0], 0).repeat(step[1], 1).repeat(step[2], 2)
    near = near[: truth.shape[0], : truth.shape[1], : truth.shape[2]]
    reach = float(rng.uniform(35, 60))
    margin = float(rng.uniform(15, 30)) / spacing[0]
    levels = np.flatnonzero(kidneys.any((1, 2)))
    z = np.arange(len(truth))[:, None, None]
    kept = (near < reach) & (z > levels[0] - margin) & (z < levels[-1] + margin)
    ureter = (truth == 3) & (near > float(rng.uniform(8, 25)))
    kept &= ~ureter
    return np.where(kept, truth, np.uint8(0))


def _miss_thin(
    part: NDArray[np.uint8], spacing: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Leave out stretches of vessel, the thinner the likelier, in place."""
    from scipy.ndimage import maximum_filter

    inside = distance_transform_edt(part > 0, sampling=spacing)
    radius = maximum_filter(inside, size=[2 * int(3 / s) + 1 for s in spacing])
    # A branch is missed as a whole: chance is the same over about a centimetre.
    luck = smooth_field(rng, part.shape, spacing, 9.0)
    missed = np.clip((1.9 - radius) / 1.4, 0, 0.9)
    quantile = np.argsort(np.argsort(luck.ravel()[:: max(1, luck.size // 20000)]))
    order = np.sort(luck.ravel()[:: max(1, luck.size // 20000)])
    share = np.searchsorted(order, luck.ravel()).reshape(luck.shape) / max(1, len(quantile))
    part[(part > 0) & (share < missed)] = 0


def _roughen(part: NDArray[np.uint8], spacing: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Let borders wander by half a voxel either way, in place."""
    mask = part > 0
    inside = distance_transform_edt(mask)
    wave = smooth_field(rng, part.shape, spacing, 6.0)
    part[mask & (inside <= 1.0) & (wave > 1.0)] = 0
    outside, nearest = distance_transform_edt(~mask, return_indices=True)
    grow = ~mask & (outside <= 1.0) & (wave < -1.2)
    part[grow] = part[tuple(axis[grow] for axis in nearest)]


def _to_islands(
    part: NDArray[np.uint8], spacing: tuple[float, float, float], wanted: int, rng: np.random.Generator
) -> None:
    """Cut gaps of 3–8 mm until there are enough islands, then drop the smallest beyond them, in place."""
    for _ in range(60):
        islands = cc3d.connected_components(part, connectivity=26)
        sizes = np.bincount(islands.ravel())
        sizes[0] = 0
        if int((sizes >= _CROWD).sum()) >= wanted:
            break
        found = np.flatnonzero(part)
        if len(found) < 2 * _CROWD:
            break
        # Cut thin places first: a gap across the aorta is no slip of the hand.
        inside = distance_transform_edt(part > 0, sampling=spacing)
        chance = 1 / (0.3 + inside.ravel()[found]) ** 2
        for centre in rng.choice(found, min(6, len(found)), replace=False, p=chance / chance.sum()):
            at = np.array(np.unravel_index(int(centre), part.shape))
            radius = float(rng.uniform(1.5, 4.0)) + float(inside[tuple(at)])
            reach = np.ceil(radius / np.asarray(spacing)).astype(int)
            box = tuple(
                slice(max(0, a - r), min(n, a + r + 1)) for a, r, n in zip(at, reach, part.shape, strict=True)
            )
            grid = np.ogrid[box]
            away = sum(((g - a) * s) ** 2 for g, a, s in zip(grid, at, spacing, strict=True))
            part[box][away <= radius**2] = 0
    islands = cc3d.connected_components(part, connectivity=26)
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    kept = np.zeros(len(sizes), bool)
    kept[np.argsort(sizes)[::-1][:wanted]] = True
    kept &= sizes > 0
    part[~kept[islands]] = 0
