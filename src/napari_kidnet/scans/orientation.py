"""Which stored axis runs which way in the body, and the exact way to (z, y, x) LPS and back.

A file stores its voxels along axes (i, j, k) that may run any of 48 ways. Here an axis of the
array we work on is paired with the stored axis nearest to it, and flipped where the two run
against each other; nothing is resampled, so both ways are exact.

::

    stored (i, j, k)  ──transpose by axes, then flip──►  array (z, y, x)
                      ◄──flip, then transpose back─────   z to the head, y to the back, x to the left
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LPS_TO_RAS", "AxisOrder", "nearest_axes", "spacing_of"]

Affine = NDArray[np.float64]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns a position in mm with axes to the left, back and head into nibabel's right, front and head."""


@dataclass(frozen=True, slots=True)
class AxisOrder:
    """How a stored volume is turned into an array in (z, y, x).

    Attributes
    ----------
    axes : tuple of int
        For each axis of the array, in the order (z, y, x), the stored axis it comes from.
    flips : tuple of bool
        For each axis of the array, in the order (z, y, x), whether the stored axis runs against it.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def from_stored(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return a view in (z, y, x) of a volume in stored axes (i, j, k)."""
        return stored.transpose(self.axes)[self._steps]

    def to_stored(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view in stored axes (i, j, k, …) of an array in (z, y, x, …)."""
        back = [self.axes.index(axis) for axis in range(3)]
        return array[self._steps].transpose([*back, *range(3, array.ndim)])

    def affine_of(self, stored_affine: Affine, stored_shape: tuple[int, ...]) -> Affine:
        """Return the affine of the reordered array.

        Parameters
        ----------
        stored_affine : array, shape (4, 4)
            From stored indices (i, j, k) to mm.
        stored_shape : tuple of int
            The number of voxels along (i, j, k).

        Returns
        -------
        array, shape (4, 4)
            From array indices taken as (x, y, z), the reverse of the array's axes, to the same mm.
        """
        turn = np.zeros((4, 4))
        turn[3, 3] = 1.0
        for array_axis, (stored_axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            turn[stored_axis, 2 - array_axis] = -1.0 if flip else 1.0
            turn[stored_axis, 3] = stored_shape[stored_axis] - 1 if flip else 0.0
        return stored_affine @ turn

    @property
    def _steps(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return (z, y, x)


def nearest_axes(affine: Affine, target: Affine = LPS_TO_RAS) -> AxisOrder:
    """Pair stored axes with the axes of a target grid: the pairing with the smallest angles in all.

    Parameters
    ----------
    affine : array, shape (4, 4)
        From stored indices (i, j, k) to mm.
    target : array, shape (4, 4)
        From the target's indices (x, y, z) to the same mm; by default left, back and head.

    Examples
    --------
    A volume stored to the right, front and head has to be flipped in x and y:

    >>> nearest_axes(np.diag([0.8, 0.8, 3.0, 1.0]))
    AxisOrder(axes=(2, 1, 0), flips=(False, True, True))
    """
    cosines = np.linalg.solve(_directions(target), _directions(affine))  # (target x y z, stored i j k)
    best = max(permutations(range(3)), key=lambda order: sum(abs(cosines[k, order[k]]) for k in range(3)))
    x, y, z = best
    return AxisOrder((z, y, x), (bool(cosines[2, z] < 0), bool(cosines[1, y] < 0), bool(cosines[0, x] < 0)))


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Return the spacing (z, y, x) in mm of an affine whose columns are in the order (x, y, z)."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return (float(z), float(y), float(x))


def _directions(affine: Affine) -> Affine:
    matrix = affine[:3, :3]
    return np.asarray(matrix / np.linalg.norm(matrix, axis=0))
