"""Smooth random fields and smooth interpolation, by cubic B-splines on coarse control grids.

One separable product of matrices expands a control grid to millions of voxels in a fraction of a second,
which is why neither ``scipy.ndimage.zoom`` nor a Gaussian filter of white noise is used here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["expand", "linear_matrix", "smooth_field", "spline_matrix"]


def spline_matrix(voxels: int, spacing: float, knot: float, first: float = 0.0) -> NDArray[np.float32]:
    """Return the weights of cubic B-splines, float32 (voxels, controls).

    Parameters
    ----------
    voxels : int
        Number of samples; sample ``i`` lies at ``first + i * spacing`` mm.
    spacing : float
        Distance of samples in mm.
    knot : float
        Distance of control points in mm; control ``j`` lies at ``(j - 1) * knot`` mm.
    first : float
        Position of the first sample in mm, at least 0.

    Examples
    --------
    >>> weights = spline_matrix(5, 1.0, 2.0)
    >>> weights.shape
    (5, 6)
    >>> bool(np.allclose(weights.sum(1), 1))
    True
    """
    at = (first + np.arange(voxels) * spacing) / knot
    cell = np.floor(at).astype(int)
    t = at - cell
    weights = np.zeros((voxels, int(cell.max(initial=0)) + 4), np.float32)
    rows = np.arange(voxels)
    for offset, weight in enumerate(
        (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
    ):
        weights[rows, cell + offset] = weight
    return weights


def linear_matrix(at: NDArray[np.float64], samples: int) -> NDArray[np.float32]:
    """Return linear interpolation weights, float32 (len(at), samples), clamped at both ends.

    Parameters
    ----------
    at : float array
        Positions in units of samples.
    samples : int
        Number of samples interpolated between.
    """
    at = np.clip(at, 0, samples - 1)
    low = np.minimum(at.astype(int), max(samples - 2, 0))
    weights = np.zeros((len(at), samples), np.float32)
    rows = np.arange(len(at))
    weights[rows, low] += (1 - (at - low)).astype(np.float32)
    weights[rows, np.minimum(low + 1, samples - 1)] += (at - low).astype(np.float32)
    return weights


def expand(
    control: NDArray[np.float32],
    weights: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the control grid interpolated by one matrix per axis, float32 (z, y, x).

    Parameters
    ----------
    control : float32 array (z, y, x)
        Values at the control points.
    weights : three float32 arrays (voxels, controls)
        Interpolation along z, y and x.
    """
    wz, wy, wx = weights
    along_x = control.astype(np.float32, copy=False) @ wx.T  # (cz, cy, x)
    along_y = np.matmul(wy, along_x)  # (cz, y, x)
    flat = along_y.reshape(len(along_y), -1)
    result: NDArray[np.float32] = (wz @ flat).reshape(len(wz), len(wy), len(wx))
    return result


def smooth_field(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
    scale: float | tuple[float, float, float],
) -> NDArray[np.float32]:
    """Return a smooth random field of mean 0 and standard deviation about 1, float32 (z, y, x).

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        Voxels (z, y, x).
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    scale : float or tuple of float
        Distance of independent values in mm, one for all axes or one each.
    """
    scales = (scale,) * 3 if isinstance(scale, int | float) else scale
    weights = []
    gain = 1.0
    for voxels, size, knot in zip(shape, spacing, scales, strict=True):
        # A random start keeps control points from always lying on the first voxel.
        matrix = spline_matrix(voxels, size, knot, float(rng.uniform(0, knot)))
        gain *= float(np.sqrt((matrix**2).sum(1).mean()))
        weights.append(matrix)
    control = rng.standard_normal([w.shape[1] for w in weights], np.float32) / np.float32(gain)
    return expand(control, (weights[0], weights[1], weights[2]))
