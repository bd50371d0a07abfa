"""Random sampling of background in two bands around the vessels (paper §2, Fig. 3), and the voxel weights.

::

    distance to the nearest vessel, voxels    0 │ 0…2     │ 2…4          │ beyond
                                         vessel │ blue    │ red          │ far
    sampled                                     │ never   │ 20 %         │ 80 %

As many background voxels are sampled as the patch has vessel voxels, anew whenever it is fed; a patch
without vessels has 1 % of its voxels sampled. Distances are exact Euclidean ones (a ball, not a cube) to
the union of all vessel classes, so that no sampled voxel is a vessel of another class (reading A15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_kidnet.training.schema import Schema
    from napari_kidnet.training.weighting import PatchWeights

__all__ = ["capped_squared_distance", "sample_bands", "voxel_weights"]

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]

LARGEST_RADIUS: Final = 15
"""Squares of larger distances would not fit into uint8."""


def capped_squared_distance(mask: Mask, radius: int) -> Labels:
    """Return the squared Euclidean distance to the nearest True voxel, where it is at most ``radius``.

    Separable: along each axis the smallest of ``g(x + k) + k²``. It takes 3 ms for 72³ voxels where SciPy's
    unlimited transform takes 28, so it is done on the augmented patch, and nothing has to be stored.

    Parameters
    ----------
    mask : array of bool, (z, y, x)
        The vessels.
    radius : int
        Voxels, 0 to 15.

    Returns
    -------
    array of uint8, (z, y, x)
        Squared voxels; ``radius² + 1`` means farther away.

    Examples
    --------
    >>> capped_squared_distance(np.array([[[True, False, False, False]]]), 2)
    array([[[0, 1, 4, 5]]], dtype=uint8)
    """
    if not 0 <= radius < LARGEST_RADIUS:
        raise ValueError(f"radius must be within 0 to {LARGEST_RADIUS - 1}, not {radius}")
    far = radius * radius + 1
    squares = np.where(mask, np.uint8(0), np.uint8(far))
    if not mask.any():
        return squares
    for axis in range(3):
        result = squares.copy()
        for k in range(1, radius + 1):
            if k >= squares.shape[axis]:
                break
            near = np.minimum(squares, far - min(k * k, far)) + np.uint8(k * k)  # never above far, nor 255
            for forward in (True, False):
                into, out_of = [slice(None)] * 3, [slice(None)] * 3
                into[axis] = slice(k, None) if forward else slice(None, -k)
                out_of[axis] = slice(None, -k) if forward else slice(k, None)
                view = result[tuple(into)]
                np.minimum(view, near[tuple(out_of)], out=view)
        squares = result
    return squares


def sample_bands(
    labels: Labels,
    squared_distance: Labels,
    schema: Schema,
    rng: np.random.Generator,
    reviewed: Mask | None = None,
    suspicion: NDArray[np.float32] | None = None,
) -> NDArray[np.intp]:
    """Return flat indices of the sampled background voxels, without repetition (R19–R22, A17, A18).

    Parameters
    ----------
    labels : array of uint8, (z, y, x)
        Classes.
    squared_distance : array of uint8, (z, y, x)
        `capped_squared_distance` of the vessels to the schema's outer radius, made on the patch grown by that
        radius, so that a vessel just outside of it counts (reading A16).
    schema : Schema
        Radii and shares.
    rng : numpy.random.Generator
        The source of chance.
    reviewed : array of bool, (z, y, x), optional
        Only these voxels are counted and sampled.
    suspicion : array of float32, (z, y, x), optional
        The network's probability of foreground, for ``schema.hard_share``.
    """
    distance, background = squared_distance.ravel(), labels.ravel() == 0
    if reviewed is not None:
        background &= reviewed.ravel()
    size = labels.size if reviewed is None else int(np.count_nonzero(reviewed))
    foreground = size - int(np.count_nonzero(background))
    inner, outer = schema.inner_radius**2, schema.outer_radius**2
    if foreground == 0:
        # a vessel may still lie just outside of the patch: its margin is not sampled here either
        wanted = round(schema.free_share * size)
        return _draw(np.flatnonzero(background & (distance > inner)), wanted, rng)
    red = np.flatnonzero(background & (distance > inner) & (distance <= outer))
    far = np.flatnonzero(background & (distance > outer))
    count_red = round(schema.red_share * foreground)
    count_far = foreground - count_red
    # A17: what one band lacks the other one gives, as far as it can; never the blue band
    take_red = min(len(red), count_red + max(0, count_far - len(far)))
    take_far = min(len(far), count_far + max(0, count_red - len(red)))
    chosen = [_draw(red, take_red, rng)]
    hard = round(schema.hard_share * take_far) if suspicion is not None else 0
    if suspicion is not None and hard:
        worst = _draw_suspicious(far, suspicion.ravel()[far], hard, rng)
        chosen.append(worst)
        far = np.setdiff1d(far, worst, assume_unique=True)
    chosen.append(_draw(far, take_far - hard, rng))
    return np.concatenate(chosen)


def voxel_weights(
    labels: Labels,
    squared_distance: Labels,
    schema: Schema,
    weights: PatchWeights,
    rng: np.random.Generator,
    reviewed: Mask | None = None,
    suspicion: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the weight of each voxel, float32 (z, y, x) (R17, R23, readings A2 and A19).

    Parameters
    ----------
    weights : PatchWeights
        This patch's weights from `DynamicWeighting`; all ones where dynamic weighting is off.
    labels, squared_distance, schema, rng, reviewed, suspicion
        As in `sample_bands`. Voxels that are not reviewed weigh nothing.
    """
    result = weights.voxel.astype(np.float32)[labels]
    if schema.sampling:
        sampled = sample_bands(labels, squared_distance, schema, rng, reviewed, suspicion)
        if schema.unsampled == "zero":
            result[labels == 0] = 0.0
        result.ravel()[sampled] = _sampled_weight(labels, len(sampled), schema, weights, reviewed)
    if reviewed is not None:
        result[~reviewed] = 0.0
    return result


def _sampled_weight(
    labels: Labels, count: int, schema: Schema, weights: PatchWeights, reviewed: Mask | None
) -> float:
    if not isinstance(schema.sampled, str):
        return float(schema.sampled) * weights.patch
    seen = labels.ravel() if reviewed is None else labels[reviewed]
    voxels = np.bincount(seen, minlength=len(weights.voxel))[1:]
    vessels = weights.voxel[1:]
    if schema.sampled == "fg_max":
        return float(vessels[voxels > 0].max() if voxels.any() else vessels.max())
    if schema.sampled == "policy":
        # "volume × weight = 1/n" for the sampled set as for a class: weight = size(P) / (n · sampled voxels)
        return weights.patch * seen.size / (len(weights.voxel) * max(1, count))
    if not voxels.any():
        return float(vessels.mean())  # A19: without foreground, the mean of the vessels' class weights
    return float((vessels * voxels).sum() / voxels.sum())


def _draw(pool: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    if count >= len(pool):
        return pool
    return pool[rng.choice(len(pool), count, replace=False, shuffle=False)]


def _draw_suspicious(
    pool: NDArray[np.intp], suspicion: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    # Gumbel's trick: the largest log p + noise are a draw without repetition, with chances in proportion to p
    keys = np.log(suspicion.astype(np.float64) + 1e-6) + rng.gumbel(size=len(pool))
    if count >= len(pool):
        return pool
    return pool[np.argpartition(keys, -count)[-count:]]
