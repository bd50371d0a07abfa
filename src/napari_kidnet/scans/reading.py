"""One way in for every kind of scan, and one way out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_kidnet.errors import OutputError, ScanError, SettingsError
from napari_kidnet.scans.dicom import read_dicom
from napari_kidnet.scans.dicom_series import is_dicom
from napari_kidnet.scans.intensity import hounsfield
from napari_kidnet.scans.nifti import is_nifti, read_nifti, write_nifti
from napari_kidnet.scans.scan import Scan, StoredVolume
from napari_kidnet.scans.tiff import is_tiff, read_tiff

if TYPE_CHECKING:
    import os

__all__ = ["read_scan", "write_scan"]


def read_scan(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    intensity_offset: float | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Scan:
    """Read a CT volume.

    Parameters
    ----------
    path : path-like
        A NIfTI file, a TIFF stack, a folder with a DICOM series, or one file of such a series.
    series : str, optional
        The UID of the DICOM series, or its last part, where the folder holds several.
    intensity_offset : float, optional
        What has to be added to the stored numbers to make them HU; by default found from the histogram.
    spacing : tuple of float, optional
        (z, y, x) in mm, for a TIFF stack that does not say.

    Returns
    -------
    Scan
        In (z, y, x) LPS, read-only, int16 where that is exact.

    Raises
    ------
    ScanError
        The input is not what it seems.
    SettingsError
        An option does not apply to this kind of file.
    """
    source = Path(path)
    volume = _stored(source, series, spacing)
    hu, notes = hounsfield(volume.values, source, intensity_offset)
    return Scan.from_stored(volume, hu, source, volume.notes + notes)


def write_scan(path: str | os.PathLike[str], scan: Scan) -> None:
    """Write a scan as NIfTI, int16 or float32, on its own stored grid.

    Raises
    ------
    OutputError
        It cannot be written there, or the name is not that of a NIfTI file.
    """
    target = Path(path)
    if not is_nifti(target):
        raise OutputError(f"{target} was not written: a scan is written as .nii or .nii.gz.")
    write_nifti(target, scan.stored.order.to_stored(scan.hu), scan.stored, scan.hu.dtype)


def _stored(source: Path, series: str | None, spacing: tuple[float, float, float] | None) -> StoredVolume:
    if not source.exists():
        raise ScanError(f"{source} does not exist; check the path.")
    if spacing is not None and not is_tiff(source):
        raise SettingsError(f"--spacing is for TIFF stacks, and {source} states its own; leave it out.")
    if source.is_dir() or is_dicom(source):
        return read_dicom(source, series)
    if series is not None:
        raise SettingsError(
            f"--series chooses among DICOM series, and {source} is a single file; leave it out."
        )
    if is_nifti(source):
        return read_nifti(source)
    if is_tiff(source):
        return read_tiff(source, spacing)
    raise ScanError(
        f"{source} is of no kind that is read here; give a NIfTI file (.nii, .nii.gz), a TIFF stack "
        "(.tif, .tiff) or a folder with a DICOM series."
    )
