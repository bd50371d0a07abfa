"""Dynamic weighting, Algorithm 1 of the paper (§2): class weights from moving averages of volumes.

For each patch P, in the order in which patches are fed, with n classes and V_c = 1/n at the start::

    V_c(P) = voxels of class c in P / size(P)
    V_c    = V_c (1 − α) + V_c(P) α
    CW_c   = 1 / (n V_c)
    PW     = 1 if P holds background only, else 1 − log Σ_{c ≥ 1} V_c(P)
    VW_c   = PW · CW_c

With part of a patch unreviewed, size(P) and the counts are those of the reviewed voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DynamicWeighting", "PatchWeights", "patch_volumes", "patch_weight"]

CLASS_COUNT: Final = len(CLASSES)

SMALLEST_VOLUME: Final = 1e-8
"""The published schema has no floor; this one only keeps a division from failing (§4, strict preset)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PatchWeights:
    """One patch's weights.

    Attributes
    ----------
    voxel : array of float64, (class,)
        VW_c.
    class_ : array of float64, (class,)
        CW_c, after this patch's update.
    patch : float
        PW.
    """

    voxel: Floats
    class_: Floats
    patch: float


def patch_volumes(labels: NDArray[np.uint8], reviewed: NDArray[np.bool_] | None = None) -> Floats:
    """Return V_c(P), float64 (class,), of labels (z, y, x); zeros where nothing is reviewed.

    Examples
    --------
    >>> patch_volumes(np.array([[[0, 0, 1, 3]]], np.uint8)).tolist()
    [0.5, 0.25, 0.0, 0.25]
    """
    seen = labels.ravel() if reviewed is None else labels[reviewed]
    counts = np.bincount(seen, minlength=CLASS_COUNT).astype(np.float64)
    if len(counts) > CLASS_COUNT:
        raise SettingsError(f"A label is {len(counts) - 1}; labels must be 0 to {CLASS_COUNT - 1}.")
    return counts / max(1, seen.size)


def patch_weight(volumes: Floats, base: float | None = None, cap: float | None = None) -> float:
    """Return PW of V_c(P).

    Parameters
    ----------
    volumes : array of float64, (class,)
        V_c(P).
    base : float, optional
        Base of the logarithm; natural by default (reading A6).
    cap : float, optional
        No patch weighs more; none by default.

    Examples
    --------
    >>> patch_weight(np.array([1.0, 0, 0, 0])), round(patch_weight(np.array([0.99, 0.01, 0, 0])), 2)
    (1.0, 5.61)
    """
    foreground = float(volumes[1:].sum())
    if foreground <= 0.0:
        return 1.0
    logarithm = np.log(foreground) if base is None else np.log(foreground) / np.log(base)
    weight = 1.0 - float(logarithm)
    return weight if cap is None else min(weight, cap)


class DynamicWeighting:
    """The state of Algorithm 1; patches must come in the order in which they are fed.

    Parameters
    ----------
    alpha : float
        Weight of the newest patch in the moving average; the paper's is .001.
    volumes : sequence of float, optional
        V to begin with; 1/n each by default, as in the paper.
    patches_seen : int
        Patches that those volumes already know.
    largest_class_weight : float, optional
        No CW_c is larger (reading A24); none by default, as in the paper.
    smallest_volume : float
        V_c counts as at least this much when a weight is made of it.
    """

    def __init__(
        self,
        alpha: float = 0.001,
        volumes: Sequence[float] | None = None,
        patches_seen: int = 0,
        largest_class_weight: float | None = None,
        smallest_volume: float = SMALLEST_VOLUME,
    ) -> None:
        if not 0.0 < alpha <= 1.0:
            raise SettingsError(
                f"alpha of the moving average is {alpha:g}; choose a number above 0 and up to 1."
            )
        start = (
            np.full(CLASS_COUNT, 1.0 / CLASS_COUNT)
            if volumes is None
            else np.array(volumes, dtype=np.float64)
        )
        if start.shape != (CLASS_COUNT,) or not np.isfinite(start).all() or start.min() < 0:
            raise SettingsError(
                f"The volumes V to begin with are {volumes}; give {CLASS_COUNT} numbers from 0 to 1."
            )
        self.alpha = alpha
        self.volumes: Floats = start
        self.patches_seen = patches_seen
        self._largest = largest_class_weight
        self._smallest = smallest_volume

    @property
    def class_weights(self) -> Floats:
        """CW_c of the present volumes, float64 (class,)."""
        weights = 1.0 / (CLASS_COUNT * np.maximum(self.volumes, self._smallest))
        return weights if self._largest is None else np.minimum(weights, self._largest)

    def update(self, volumes: Floats) -> None:
        """Take in one patch's V_c(P), float64 (class,)."""
        self.volumes = self.volumes * (1.0 - self.alpha) + volumes * self.alpha
        self.patches_seen += 1

    def weigh(
        self,
        labels: NDArray[np.uint8],
        reviewed: NDArray[np.bool_] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> PatchWeights:
        """Take in one patch (z, y, x) and return its weights, those after its own update.

        A patch of which nothing is reviewed says nothing about volumes and changes none. ``known`` (class,)
        names the classes that were reviewed in the patch's scan: the others keep their volume, or each patch
        without them would raise their weight without end (reading A24).
        """
        volumes = patch_volumes(labels, reviewed)
        if reviewed is None or reviewed.any():
            self.update(volumes if known is None else self._without(volumes, known))
        weights, patch = self.class_weights, patch_weight(volumes)
        return PatchWeights(patch * weights, weights, patch)

    def _without(self, volumes: Floats, known: NDArray[np.bool_]) -> Floats:
        # the others share what the unknown classes leave, so that V still adds up to 1
        kept = np.where(known, 0.0, self.volumes)
        rest = float(volumes[known].sum())
        return kept + np.where(known, volumes * ((1.0 - kept.sum()) / rest if rest else 0.0), 0.0)
