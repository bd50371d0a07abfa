"""A DICOM series as a volume: ordered along its normal, checked for gaps and tilt, turned to HU.

The stored axes are those dcm2niix would give the NIfTI of the same series: i along the columns'
direction, j against the rows' (dcm2niix flips them, so that an axial scan is stored to the left, to
the front and to the head), k along the normal ``row × column``. Labels of a DICOM scan are therefore
NIfTI files that overlay what dcm2niix makes of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import ScanError
from napari_kidnet.scans.dicom_series import Slice, choose_series, series_in
from napari_kidnet.scans.orientation import LPS_TO_RAS, Affine
from napari_kidnet.scans.scan import StoredVolume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["read_dicom"]


def read_dicom(source: Path, series: str | None = None) -> StoredVolume:
    """Read a DICOM series.

    Parameters
    ----------
    source : Path
        A folder, or one file of the series.
    series : str, optional
        The UID of the series, or the last part of it; needed if there are several in the folder.

    Returns
    -------
    StoredVolume
        HU along (i, j, k) as dcm2niix stores them.

    Raises
    ------
    ScanError
        There is no CT series, several, or one with missing or uneven slices or a tilted gantry.
    """
    folder = source if source.is_dir() else source.parent
    found = series_in(folder)
    if series is None and not source.is_dir():
        series = next(
            (uid for uid, files in found.items() if any(each.path == source for each in files)), None
        )
    slices = choose_series(found, series, folder)
    _check_kind(slices, folder)
    normal, ordered = _ordered(slices)
    affine = _affine_of(ordered, normal, folder)
    values = np.stack([_hu_of(each) for each in ordered])  # (k, row, column)
    return StoredVolume(values[:, ::-1].transpose(2, 1, 0), affine, "dicom")


def _check_kind(slices: list[Slice], folder: Path) -> None:
    """Raise unless the series is of CT slices of one size and direction."""
    first = slices[0].header
    modality = str(first.get("Modality") or "unknown")
    if modality != "CT":
        raise ScanError(f"{folder} holds a series of modality {modality}, and only CT can be segmented.")
    if any(int(each.header.get("NumberOfFrames") or 1) > 1 for each in slices):
        raise ScanError(
            f"{folder} holds a multi-frame (enhanced) DICOM series, which is not read here; "
            "convert it to NIfTI, for example with dcm2niix."
        )
    if len(slices) < 2:
        raise ScanError(f"{folder} holds a series of a single slice, and a three-dimensional CT is needed.")
    needed = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    for each in slices:
        lacking = next((tag for tag in needed if not each.header.get(tag)), None)
        if lacking:
            raise ScanError(
                f"{each.path} lacks {lacking}, without which its place is unknown; export it again."
            )
        if int(each.header.get("SamplesPerPixel") or 1) != 1:
            raise ScanError(f"{each.path} is a colour image, and CT is one number per voxel.")
        if _differs(each.header, first):
            raise ScanError(
                f"{each.path} has another size, spacing or direction than the series' other slices; "
                "remove the slices that do not belong to it."
            )


def _differs(header: Dataset, first: Dataset) -> bool:
    if (header.Rows, header.Columns) != (first.Rows, first.Columns):
        return True
    tags = (("ImageOrientationPatient", 1e-3), ("PixelSpacing", 1e-3))
    return any(not np.allclose(_numbers(header, tag), _numbers(first, tag), atol=near) for tag, near in tags)


def _ordered(slices: list[Slice]) -> tuple[NDArray[np.float64], list[Slice]]:
    """Return the normal, in DICOM's LPS, and the slices in its direction."""
    direction = _numbers(slices[0].header, "ImageOrientationPatient")
    normal = np.cross(direction[:3], direction[3:])
    return normal, sorted(slices, key=lambda each: float(_position(each) @ normal))


def _affine_of(ordered: list[Slice], normal: NDArray[np.float64], folder: Path) -> Affine:
    """Return the affine of the stored axes (i, j, k), after checking that the slices stack to a block."""
    positions = np.array([_position(each) for each in ordered])  # (slice, x y z) in LPS
    header = ordered[0].header
    row_step, column_step = _numbers(header, "PixelSpacing")
    if not (np.isfinite([row_step, column_step]).all() and row_step > 0 and column_step > 0):
        raise ScanError(
            f"{folder} has a pixel spacing of {row_step:g} × {column_step:g} mm, which has to be positive."
        )
    _check_steps(positions @ normal, folder)
    way = positions[-1] - positions[0]
    along = float(way @ normal)
    aside = float(np.linalg.norm(way - along * normal))
    if aside > 0.5 * min(row_step, column_step):
        tilt = math.degrees(math.atan2(aside, along))
        raise ScanError(
            f"{folder} was scanned with the gantry tilted by {tilt:.1f}°, which is not corrected here; "
            "convert it with dcm2niix, which does, and give the NIfTI file."
        )
    direction = _numbers(header, "ImageOrientationPatient")
    affine = np.eye(4)
    affine[:3, 0] = direction[:3] * column_step
    affine[:3, 1] = -direction[3:] * row_step
    affine[:3, 2] = way / (len(ordered) - 1)
    affine[:3, 3] = positions[0] + direction[3:] * row_step * (int(header.Rows) - 1)
    return LPS_TO_RAS @ affine


def _check_steps(heights: NDArray[np.float64], folder: Path) -> None:
    """Raise unless the slices, in order along their normal, are evenly spaced."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    doubled = int(np.count_nonzero(steps < 0.01))
    if doubled:
        raise ScanError(
            f"{folder} has {doubled} slice{'s' if doubled > 1 else ''} at the position of another "
            "(several phases or copies in one series); separate them first."
        )
    wide = np.flatnonzero(steps > 1.5 * usual)
    if wide.size:
        missing = int(sum(round(float(steps[at]) / usual) - 1 for at in wide)) or 1
        raise ScanError(
            f"{folder} lacks {missing} slice{'s' if missing > 1 else ''}: after {heights[wide[0]]:.1f} mm "
            f"the next is {steps[wide[0]]:.1f} mm on and not {usual:.1f} mm; export the whole series again."
        )
    even = np.linspace(heights[0], heights[-1], len(heights))
    # positions are often written to 0.1 mm: steps may alternate, the slices may not drift
    if float(np.abs(heights - even).max()) > max(0.1, 0.1 * usual):
        raise ScanError(
            f"{folder} has uneven slices, from {steps.min():.2f} to {steps.max():.2f} mm apart; "
            "resample it to even slices first."
        )


def _hu_of(each: Slice) -> NDArray[Any]:
    """Decode a slice, (row, column), and apply its own slope and intercept."""
    import pydicom

    try:
        full = pydicom.dcmread(each.path, force=True)
        stored = full.pixel_array
    # the decoders tell damage and missing codecs by these, whichever of them it is
    except (
        RuntimeError,
        ValueError,
        AttributeError,
        NotImplementedError,
        KeyError,
        OSError,
        EOFError,
    ) as error:
        raise ScanError(
            f"{each.path} holds pixels that cannot be decoded; it may be cut off, copy it again."
        ) from error
    slope, intercept = float(full.get("RescaleSlope", 1) or 1), float(full.get("RescaleIntercept", 0) or 0)
    if slope.is_integer() and intercept.is_integer():
        hu: NDArray[Any] = stored.astype(np.int32) * int(slope) + int(intercept)
        limits = np.iinfo(np.int16)
        return hu.astype(np.int16) if limits.min <= hu.min() and hu.max() <= limits.max else hu
    scaled: NDArray[Any] = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    return scaled


def _position(each: Slice) -> NDArray[np.float64]:
    return _numbers(each.header, "ImagePositionPatient")


def _numbers(header: Dataset, tag: str) -> NDArray[np.float64]:
    return np.array([float(value) for value in header[tag].value], np.float64)
