"""Where a kidney's vessels enter: its sinus, its hilum, and points of its cortico-medullary shell.

Works on drawn kidneys and on those of real label maps alike: nothing but the kidney's voxels is used::

        cortex                      medial is towards the great vessels
      ╭────────╮
      │  ╭─────╯
      │  │ sinus ── hilum ──►       the way out that crosses the least parenchyma
      │  ╰─────╮
      ╰────────╯
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy import ndimage

from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tree import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PARENCHYMA", "SINUS", "Kidney", "Side", "find_kidney", "lookup"]

Side = Literal["left", "right"]
_S = Structure

PARENCHYMA: Final[dict[Side, tuple[int, int]]] = {
    "left": (_S.CORTEX_LEFT, _S.MEDULLA_LEFT),
    "right": (_S.CORTEX_RIGHT, _S.MEDULLA_RIGHT),
}
SINUS: Final[dict[Side, int]] = {"left": _S.SINUS_FAT_LEFT, "right": _S.SINUS_FAT_RIGHT}

_LEAST_SINUS_ML = 0.5  # a smaller sinus of a label map is a leftover, not a place for a pelvis
_CLOSING_MM = 12.0  # as wide as a hilum's mouth


@dataclass(frozen=True, slots=True)
class Kidney:
    """One kidney as its vessels see it; all positions (z, y, x) in mm, voxel (0, 0, 0) at the origin.

    Attributes
    ----------
    sinus_mm, hilum_mm : float array (3,)
        Middle of the sinus; the point just outside of its mouth.
    outward : float array (3,)
        Unit vector from the sinus out of the hilum.
    along : float array (3,)
        Unit vector of the kidney's long axis, upwards.
    shell_mm : float array (n, 3)
        Points of the cortico-medullary shell, where arcuate vessels run.
    papillae_mm : float array (n, 3)
        Points between sinus and medulla, where calyces open.
    length_mm : float
        Extent along the body's axis.
    """

    sinus_mm: NDArray[np.float64]
    hilum_mm: NDArray[np.float64]
    outward: NDArray[np.float64]
    along: NDArray[np.float64]
    shell_mm: NDArray[np.float64]
    papillae_mm: NDArray[np.float64]
    length_mm: float


def lookup(ids: tuple[int, ...] | frozenset[int] | list[int]) -> NDArray[np.bool_]:
    """Return a table (256,) that is true for the given ids."""
    table = np.zeros(256, bool)
    table[list(ids)] = True
    return table


def find_kidney(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    side: Side,
    towards_mm: NDArray[np.float64],
) -> Kidney | None:
    """Find one kidney's sinus, hilum and shell.

    Parameters
    ----------
    structures : uint8 array (z, y, x)
        Volume of ``Structure`` ids.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    side : {"left", "right"}
        The patient's side.
    towards_mm : float array (3,)
        A point of the great vessels; the hilum faces it.

    Returns
    -------
    Kidney or None
        None where there are too few voxels of that kidney.
    """
    voxel = np.asarray(spacing, np.float64)
    tissue = lookup(PARENCHYMA[side])[structures]
    whole = tissue | (structures == SINUS[side])
    if whole.sum() * voxel.prod() < 5000.0:
        return None
    labels, count = ndimage.label(whole[(box := ndimage.find_objects(whole.astype(np.uint8))[0])])
    if count > 1:  # a label map's crumbs would pull the hilum away
        whole_box = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
        box = tuple(
            slice(b.start + s.start, b.start + s.stop)
            for b, s in zip(box, ndimage.find_objects(whole_box.astype(np.uint8))[0], strict=True)
        )
    pad = np.ceil(_CLOSING_MM / voxel).astype(int) + 1
    low = np.maximum([b.start for b in box] - pad, 0)
    high = np.minimum([b.stop for b in box] + pad, structures.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    tissue, whole = tissue[box], whole[box]
    origin = low * voxel

    inside = np.argwhere(whole) * voxel
    centre = inside.mean(axis=0)
    along = np.linalg.svd((inside - centre)[:: max(1, len(inside) // 20000)], full_matrices=False)[2][0]
    along = along * (1.0 if along[0] >= 0 else -1.0)
    medial = towards_mm - origin - centre
    medial[0] = 0.0
    medial = unit(medial)

    sinus_voxels = _sinus(structures[box], tissue, whole, spacing, side, medial)
    sinus = np.argwhere(sinus_voxels).mean(axis=0) * voxel if sinus_voxels.any() else centre + 8.0 * medial
    outward, hilum = _way_out(tissue, whole, voxel, sinus, medial)

    depth = ndimage.distance_transform_edt(whole | sinus_voxels, spacing)
    to_sinus = (
        ndimage.distance_transform_edt(~sinus_voxels, spacing) if sinus_voxels.any() else depth.max() - depth
    )
    shell = tissue & (depth > 5.0) & (depth < 9.0) & (to_sinus > 5.0)
    if shell.sum() < 100:
        shell = tissue & (depth > 2.0)
    papillae = tissue & (to_sinus < 2.5) & (depth > min(7.0, 0.6 * float(depth.max())))
    if papillae.sum() < 100:
        papillae = tissue & (depth > 0.6 * depth.max())
    return Kidney(
        sinus_mm=sinus + origin,
        hilum_mm=hilum + origin,
        outward=outward,
        along=along,
        shell_mm=np.argwhere(shell) * voxel + origin,
        papillae_mm=np.argwhere(papillae) * voxel + origin,
        length_mm=float(np.ptp(inside[:, 0])),
    )


def _sinus(
    structures: NDArray[np.uint8],
    tissue: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    spacing: tuple[float, float, float],
    side: Side,
    medial: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return the sinus's voxels: labelled ones, else the medial concavity of the kidney."""
    labelled: NDArray[np.bool_] = structures == SINUS[side]
    if labelled.sum() * np.prod(spacing) >= 1000.0 * _LEAST_SINUS_ML:
        return labelled
    near = ndimage.distance_transform_edt(~whole, spacing) <= _CLOSING_MM
    padded = np.pad(near, 1, mode="edge")
    closed = ndimage.distance_transform_edt(padded, spacing)[1:-1, 1:-1, 1:-1] > _CLOSING_MM
    hollow = closed & ~tissue
    where = np.argwhere(hollow) * np.asarray(spacing)
    if len(where) == 0:
        return hollow
    centre = np.argwhere(whole).mean(axis=0) * np.asarray(spacing)
    extent = np.ptp(np.argwhere(whole)[:, 0]) * spacing[0]
    kept = ((where - centre) @ medial > 0) & (np.abs(where[:, 0] - centre[0]) < 0.3 * extent)
    result = np.zeros_like(hollow)
    result[tuple(np.argwhere(hollow)[kept].T)] = True
    return result


def _way_out(
    tissue: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    voxel: NDArray[np.float64],
    sinus: NDArray[np.float64],
    medial: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the direction that leaves the sinus through the least parenchyma, and the point outside."""
    turns = np.radians(np.arange(-50, 51, 10))
    tilts = np.radians((-20.0, -10.0, 0.0, 10.0, 20.0))
    turn, tilt = (grid.ravel() for grid in np.meshgrid(turns, tilts))
    flat = np.stack(
        [np.zeros_like(turn), medial[1] * np.cos(turn) - medial[2] * np.sin(turn),
         medial[1] * np.sin(turn) + medial[2] * np.cos(turn)], axis=1,
    )  # fmt: skip
    ways = flat * np.cos(tilt)[:, None]
    ways[:, 0] = np.sin(tilt)
    steps = np.arange(0.0, 60.0, 1.0)
    places = sinus + ways[:, None] * steps[None, :, None]  # (way, step, 3)
    index = np.rint(places / voxel).astype(int)
    valid = np.all((index >= 0) & (index < tissue.shape), axis=-1)
    clipped = tuple(np.clip(index, 0, np.array(tissue.shape) - 1).reshape(-1, 3).T)
    crossed = (tissue[clipped].reshape(valid.shape) & valid).sum(axis=1)
    best = int(np.argmin(crossed + 1.5 * np.abs(turn) + 3.0 * np.abs(tilt)))
    within = whole[clipped].reshape(valid.shape)[best] & valid[best]
    leaves = steps[np.flatnonzero(within)[-1]] if within.any() else 0.0
    return ways[best], sinus + ways[best] * (leaves + 3.0)
