"""DICOM series: found in a folder, ordered along their normal, checked for gaps and tilt, turned to HU.

The stored axes are those dcm2niix would give the NIfTI of the same series: i along the columns'
direction, j against the rows' (dcm2niix flips them, so that an axial scan is stored to the left, to
the front and to the head), k along the normal ``row × column``. Labels of a DICOM scan are therefore
NIfTI files that overlay what dcm2niix makes of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import ScanError
from napari_kidnet.scans.orientation import LPS_TO_RAS, Affine
from napari_kidnet.scans.scan import StoredVolume

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["SeriesInfo", "is_dicom", "list_series", "read_dicom"]

HEADER_TAGS = (
    *("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "NumberOfFrames"),
    *(
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
        "SamplesPerPixel",
    ),
)
"""All that is read of each file before it is known to be needed."""

NOT_IMAGES = frozenset({"SR", "PR", "KO", "SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "REG", "DOC"})
"""Companions of a scan that have no slices of it."""


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One DICOM series in a folder.

    Attributes
    ----------
    uid : str
        What ``--series`` takes: the series' UID, or ``unnamed-N`` where anonymisation took it away.
    description : str
        The scanner's words.
    slices : int
        How many files it has.
    modality : str
        ``CT`` for what can be segmented.
    """

    uid: str
    description: str
    slices: int
    modality: str


@dataclass(frozen=True, slots=True)
class _Slice:
    path: Path
    header: Dataset


def is_dicom(path: Path) -> bool:
    """Whether a file says it is DICOM, by its preamble or its suffix."""
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def list_series(folder: str | os.PathLike[str]) -> list[SeriesInfo]:
    """Return the DICOM series in a folder and the folders in it, by UID.

    Raises
    ------
    ScanError
        It is not a folder, or holds no DICOM images.
    """
    return [_info(uid, slices) for uid, slices in _series_in(Path(folder)).items()]


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
    found = _series_in(folder)
    if series is None and not source.is_dir():
        series = next(
            (uid for uid, files in found.items() if any(each.path == source for each in files)), None
        )
    slices = _choose(found, series, folder)
    _check_kind(slices, folder)
    normal, ordered = _ordered(slices)
    affine = _affine_of(ordered, normal, folder)
    values = np.stack([_hu_of(each) for each in ordered])  # (k, row, column)
    return StoredVolume(values[:, ::-1].transpose(2, 1, 0), affine, "dicom")


def _series_in(folder: Path) -> dict[str, list[_Slice]]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not folder.is_dir():
        raise ScanError(f"{folder} is not a folder; give the folder with the DICOM files.")
    found: dict[str, list[_Slice]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR"):
        try:
            # force: files without a preamble are read, but only where the suffix says DICOM
            force = path.suffix.lower() in (".dcm", ".ima")
            header = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=force
            )
            if "Rows" not in header or header.get("Modality") in NOT_IMAGES:
                continue
        except (InvalidDicomError, OSError, ValueError, EOFError, KeyError):
            continue
        uid = str(header.get("SeriesInstanceUID") or "") or f"unnamed-{header.get('SeriesNumber') or 1}"
        found.setdefault(uid, []).append(_Slice(path, header))
    if not found:
        raise ScanError(
            f"{folder} holds no DICOM images; "
            "give a folder with a DICOM series, a NIfTI file or a TIFF stack."
        )
    return dict(sorted(found.items()))


def _info(uid: str, slices: list[_Slice]) -> SeriesInfo:
    header = slices[0].header
    description = str(header.get("SeriesDescription") or "without description")
    return SeriesInfo(uid, description, len(slices), str(header.get("Modality") or "unknown"))


def _choose(found: dict[str, list[_Slice]], series: str | None, folder: Path) -> list[_Slice]:
    fitting = [uid for uid in found if series is None or uid == series or uid.endswith(series)]
    if series in fitting:
        fitting = [series]
    if len(fitting) == 1:
        return found[fitting[0]]
    listed = "; ".join(
        f"{each.uid} ({each.modality}, {each.description}, {each.slices} slices)"
        for each in (_info(uid, found[uid]) for uid in found)
    )
    if series is None:
        raise ScanError(f"{folder} holds {len(found)} DICOM series, choose one with --series UID: {listed}.")
    problem = "no DICOM series" if not fitting else "several DICOM series"
    raise ScanError(f"{folder} holds {problem} {series!r}, choose one with --series UID: {listed}.")


def _check_kind(slices: list[_Slice], folder: Path) -> None:
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


def _ordered(slices: list[_Slice]) -> tuple[NDArray[np.float64], list[_Slice]]:
    """Return the normal, in DICOM's LPS, and the slices in its direction."""
    direction = _numbers(slices[0].header, "ImageOrientationPatient")
    normal = np.cross(direction[:3], direction[3:])
    return normal, sorted(slices, key=lambda each: float(_position(each) @ normal))


def _affine_of(ordered: list[_Slice], normal: NDArray[np.float64], folder: Path) -> Affine:
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


def _hu_of(each: _Slice) -> NDArray[Any]:
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


def _position(each: _Slice) -> NDArray[np.float64]:
    return _numbers(each.header, "ImagePositionPatient")


def _numbers(header: Dataset, tag: str) -> NDArray[np.float64]:
    return np.array([float(value) for value in header[tag].value], np.float64)
