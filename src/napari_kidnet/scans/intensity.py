"""Hounsfield units or not: what the stored numbers are, from their histogram; and the network's window.

CT in HU has air near −1000, soft tissue in a narrow peak near +50, fat near −100, and little above
700. Stored with an offset, the same peaks lie about 1000 or 1024 higher. A picture (0–255), a
normalised array or an MR shows neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import ScanError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.scans.scan import HU

__all__ = ["all_whole", "hounsfield", "normalise"]

SAMPLE = 1_000_000
"""Voxels looked at for the histogram; the peaks are thousands of voxels high in any CT."""

LEAST_SOFT_TISSUE = 0.02
"""Part of a CT of the body between fat and contrast; HU from which 1024 was taken twice have less."""

USUAL_OFFSET = 1024
"""Scanners store CT as unsigned numbers with −1024 HU as zero."""


def normalise(hu: NDArray[Any], window: tuple[float, float]) -> NDArray[np.float32]:
    """Clip to a window and scale it to −1…1.

    Parameters
    ----------
    hu : array
        Hounsfield units, any shape; not changed.
    window : tuple of float
        Low and high end in HU.

    Examples
    --------
    >>> normalise(np.array([-1000, -160, 40, 240, 900]), (-160, 240))
    array([-1., -1.,  0.,  1.,  1.], dtype=float32)
    """
    low, high = window
    scaled: NDArray[np.float32] = np.clip(np.asarray(hu, np.float32), low, high)
    scaled -= (low + high) / 2
    scaled /= (high - low) / 2
    return scaled


def hounsfield(
    values: NDArray[Any], path: Path, intensity_offset: float | None = None
) -> tuple[HU, tuple[str, ...]]:
    """Return the volume in HU, and what a person should know about it.

    Parameters
    ----------
    values : array
        Stored numbers, any axis order; not changed.
    path : Path
        For the messages.
    intensity_offset : float, optional
        Added to each stored number to make it HU; stating it, even as 0, ends all guessing.

    Returns
    -------
    hu : array of int16 or float32
        int16 wherever that is exact.
    notes : tuple of str
        One sentence if an offset was found.

    Raises
    ------
    ScanError
        NaN or infinite voxels, one value throughout, or numbers that are not CT in HU.
    """
    low, high = _range_of(values, path)
    if intensity_offset is not None:
        return _exact(_shifted(values, intensity_offset)), ()
    offset = _offset_of(values, low, high, path)
    if offset == 0:
        return _exact(values), ()
    note = (
        f"{path} is stored as HU + {-offset}, so {offset} was added to each voxel; "
        "state --intensity-offset if that is wrong."
    )
    return _exact(_shifted(values, offset)), (note,)


def _range_of(values: NDArray[Any], path: Path) -> tuple[float, float]:
    if values.dtype.kind == "f":
        bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        if bad:
            raise ScanError(
                f"{path} holds {bad} voxel{'s' if bad > 1 else ''} that {'are' if bad > 1 else 'is'} NaN or "
                "infinite; replace them, for example by -1024, and read it again."
            )
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise ScanError(
            f"{path} holds the same value, {low:g}, in each voxel, so there is nothing to segment."
        )
    return low, high


def _offset_of(values: NDArray[Any], low: float, high: float, path: Path) -> int:
    """Return what has to be added to make HU; 0 if it is HU already."""
    found = f"{path} holds values from {low:g} to {high:g}"
    if high - low < 50:
        raise ScanError(
            f"{found}, which is not CT in HU but a normalised image; give the original CT, "
            "or state --intensity-offset 0 if they are HU."
        )
    step = max(1, round((values.size / SAMPLE) ** (1 / values.ndim)))
    sample = values[tuple(slice(None, None, step) for _ in range(values.ndim))].astype(np.float32).ravel()
    inside = sample[sample > low]  # the lowest value is often padding outside the field of view
    if _looks_shifted(inside):
        return -_shift_of(inside, found)
    soft = np.mean((sample > -250) & (sample < 400))
    if np.mean(sample < -20) >= 0.001 and soft >= LEAST_SOFT_TISSUE:
        return 0
    if low >= 0 and high <= 255:
        raise ScanError(
            f"{found}, which is a picture of a CT and not CT in HU; give the original CT, "
            "or state --intensity-offset 0 if they are HU."
        )
    raise ScanError(
        f"{found} and nothing in its histogram tells how they become HU; "
        "state --intensity-offset with what has to be added to each (0 if they are HU)."
    )


def _looks_shifted(inside: NDArray[np.float32]) -> bool:
    """Whether soft tissue lies near 1024 + 50, and nothing lies where air would be in HU."""
    if inside.size == 0 or np.mean(inside < -200) > 0.001:
        return False
    dense = inside[inside > 600]  # in HU only bone and metal; with an offset all of fat and soft tissue
    if dense.size < 0.05 * inside.size:
        return False
    return bool(np.mean((dense > 824) & (dense < 1324)) > 0.85 and 900 < np.median(dense) < 1200)


def _shift_of(inside: NDArray[np.float32], found: str) -> int:
    """Tell HU + 1024, with air near 24, from HU + 1000, with air at 0."""
    air = np.histogram(inside[(inside > -150) & (inside < 150)], np.arange(-150, 154, 4))[0]
    if air.sum() < 0.01 * inside.size:  # a crop without air: the scanners' own offset
        return USUAL_OFFSET
    peak = float(np.arange(-148, 152, 4)[int(np.argmax(np.convolve(air, np.ones(3), "same")))])
    if peak > 8:  # near 24, or above it where foam and clothes are all the air there is
        return USUAL_OFFSET
    raise ScanError(
        f"{found} with air near {peak:g}, which may be HU + 1000 or HU + 1024; "
        "state --intensity-offset -1000 or --intensity-offset -1024."
    )


def _shifted(values: NDArray[Any], offset: float) -> NDArray[Any]:
    if values.dtype.kind in "iu" and float(offset).is_integer():
        return values.astype(np.int64 if values.dtype.itemsize > 2 else np.int32) + int(offset)
    return values.astype(np.float64) + offset


def all_whole(values: NDArray[Any]) -> bool:
    """Whether there are no fractions, slice by slice: a whole comparison would cost two volumes more."""
    return all(np.array_equal(part, np.rint(part)) for part in np.moveaxis(values, -1, 0))


def _exact(values: NDArray[Any]) -> HU:
    """Return int16 if that loses nothing, else float32; no copy of what is that already."""
    limits = np.iinfo(np.int16)
    fits = values.min() >= limits.min and values.max() <= limits.max
    if fits and (values.dtype.kind != "f" or all_whole(values)):
        return values.astype(np.int16, copy=False)
    return values.astype(np.float32, copy=False)
