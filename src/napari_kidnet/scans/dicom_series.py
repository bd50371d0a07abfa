"""DICOM series: found in a folder, listed, and one chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_kidnet.errors import ScanError

if TYPE_CHECKING:
    import os

    from pydicom import Dataset

__all__ = ["SeriesInfo", "Slice", "choose_series", "is_dicom", "list_series", "series_in"]

HEADER_TAGS = (
    *("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "SamplesPerPixel"),
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
class Slice:
    """One file of a series, its header without the pixels."""

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
    return [_info(uid, slices) for uid, slices in series_in(Path(folder)).items()]


def series_in(folder: Path) -> dict[str, list[Slice]]:
    """Return the files of each series in a folder and the folders in it, by UID."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not folder.is_dir():
        raise ScanError(f"{folder} is not a folder; give the folder with the DICOM files.")
    found: dict[str, list[Slice]] = {}
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
        found.setdefault(uid, []).append(Slice(path, header))
    if not found:
        raise ScanError(
            f"{folder} holds no DICOM images; "
            "give a folder with a DICOM series, a NIfTI file or a TIFF stack."
        )
    return dict(sorted(found.items()))


def _info(uid: str, slices: list[Slice]) -> SeriesInfo:
    header = slices[0].header
    description = str(header.get("SeriesDescription") or "without description")
    return SeriesInfo(uid, description, len(slices), str(header.get("Modality") or "unknown"))


def choose_series(found: dict[str, list[Slice]], series: str | None, folder: Path) -> list[Slice]:
    """Return the series asked for, by its UID or the end of it, or the only one there is."""
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
        raise ScanError(
            f"{folder} holds {len(found)} DICOM series, choose one with --series UID "
            f"or open one of its files: {listed}."
        )
    problem = "no DICOM series" if not fitting else "several DICOM series"
    raise ScanError(f"{folder} holds {problem} {series!r}, choose one with --series UID: {listed}.")
