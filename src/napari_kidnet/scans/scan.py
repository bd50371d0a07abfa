"""A CT volume in Hounsfield units, with all that is needed to write labels back onto its file's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_kidnet.errors import ScanError
from napari_kidnet.scans.orientation import Affine, AxisOrder, nearest_axes, spacing_of

if TYPE_CHECKING:
    from pathlib import Path, PurePath

__all__ = ["Scan", "StoredGrid", "StoredVolume", "spacing_text"]

HU = NDArray[np.int16] | NDArray[np.float32]

AS_ARRAY = AxisOrder((2, 1, 0), (False, False, False))
"""Stored (x, y, z) to array (z, y, x) with nothing flipped."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredGrid:
    """The grid of the file a scan came from.

    Attributes
    ----------
    shape : tuple of int
        Voxels along the stored axes (i, j, k).
    affine : array, shape (4, 4)
        From stored indices (i, j, k) to mm, right-front-head, as nibabel reads it (in mm where it is not).
    order : AxisOrder
        The way to (z, y, x) LPS and back.
    format : str
        ``"nifti"``, ``"tiff"``, ``"dicom"`` or ``"array"``.
    header : bytes or None
        The NIfTI header of the file, from which written files take sform, qform, their codes and units.
    """

    shape: tuple[int, int, int]
    affine: Affine
    order: AxisOrder
    format: Literal["nifti", "tiff", "dicom", "array"]
    header: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StoredVolume:
    """What a reader hands over: voxels as the file stores them, and where they lie.

    Attributes
    ----------
    values : array
        Voxels along the stored axes (i, j, k), scaled by the file's slope and intercept.
    affine : array, shape (4, 4)
        From (i, j, k) to mm, right-front-head.
    format : str
        As in ``StoredGrid``.
    header : bytes or None
        As in ``StoredGrid``.
    notes : tuple of str
        What a person should know about the reading.
    """

    values: NDArray[Any]
    affine: Affine
    format: Literal["nifti", "tiff", "dicom", "array"]
    header: bytes | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A CT volume.

    Attributes
    ----------
    hu : array of int16 or float32, read-only
        Hounsfield units in (z, y, x): z increases to the head, y to the back, x to the left (LPS).
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    affine : array, shape (4, 4)
        From array indices taken as (x, y, z), the reverse of the array's axes, to mm with axes to the
        right, front and head (nibabel's sense).
    name : str
        The file's name without its suffixes.
    path : Path or None
        Where it was read from.
    stored : StoredGrid
        The grid of the file, for writing back.
    notes : tuple of str
        Sentences for a person: what was assumed when it was read.
    """

    hu: HU
    spacing: tuple[float, float, float]
    affine: Affine
    name: str
    path: Path | None
    stored: StoredGrid
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype not in (np.int16, np.float32):
            raise ScanError(
                f"A scan is three-dimensional int16 or float32, not {self.hu.dtype} of shape {self.hu.shape}."
            )
        locked = self.hu.view()
        locked.flags.writeable = False
        object.__setattr__(self, "hu", locked)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        z, y, x = self.hu.shape
        return (z, y, x)

    @classmethod
    def from_array(
        cls,
        hu: NDArray[Any],
        spacing: tuple[float, float, float],
        name: str = "scan",
        affine: Affine | None = None,
    ) -> Scan:
        """Make a scan of an array in memory.

        Parameters
        ----------
        hu : array
            Hounsfield units in (z, y, x) LPS; integers that fit become int16, all else float32.
        spacing : tuple of float
            (z, y, x) in mm.
        name : str
            What to call it.
        affine : array, shape (4, 4), optional
            As ``Scan.affine``; by default the first voxel lies at 0 mm.

        Raises
        ------
        ScanError
            The spacing is not positive or the array is not three-dimensional.

        Examples
        --------
        >>> Scan.from_array(np.zeros((2, 3, 4)), (3.0, 0.8, 0.8)).affine.diagonal()
        array([-0.8, -0.8,  3. ,  1. ])
        """
        z, y, x = (float(step) for step in spacing)
        if not all(np.isfinite(step) and step > 0 for step in (z, y, x)):
            raise ScanError(f"{name} has a spacing of {spacing_text((z, y, x))}, which has to be positive.")
        placed = np.diag([-x, -y, z, 1.0]) if affine is None else np.array(affine, np.float64)
        if np.asarray(hu).ndim != 3:
            raise ScanError(f"{name} has {np.asarray(hu).ndim} dimensions; a scan has three.")
        values = compact(np.asarray(hu))
        stored = StoredGrid(values.shape[::-1], placed, AS_ARRAY, "array")
        return cls(values, (z, y, x), placed, name, None, stored)

    @classmethod
    def from_stored(cls, volume: StoredVolume, hu: NDArray[Any], path: Path, notes: tuple[str, ...]) -> Scan:
        """Make a scan of a stored volume, turned to (z, y, x) LPS; ``hu`` is along the stored axes."""
        order = nearest_axes(volume.affine)
        i, j, k = hu.shape
        affine = order.affine_of(volume.affine, hu.shape)
        stored = StoredGrid((i, j, k), volume.affine, order, volume.format, volume.header)
        array = np.ascontiguousarray(order.from_stored(hu))
        return cls(array, spacing_of(affine), affine, name_of(path.absolute()), path, stored, notes)


def compact(values: NDArray[Any]) -> HU:
    """Return int16 where that is exact, else float32; the values are never changed in place."""
    if values.dtype == np.int16 or values.dtype == np.float32:
        return values
    if values.dtype.kind in "biu":
        limits = np.iinfo(np.int16)
        if not values.size or (values.min() >= limits.min and values.max() <= limits.max):
            return values.astype(np.int16)
    return values.astype(np.float32)


def name_of(path: PurePath) -> str:
    """Return the name of a file or folder without the suffixes of images.

    Examples
    --------
    >>> from pathlib import PurePath
    >>> name_of(PurePath("patient.7.nii.gz"))
    'patient.7'
    """
    name = path.name
    for suffix in (".nii.gz", ".nii", ".ome.tif", ".ome.tiff", ".tif", ".tiff", ".dcm"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def spacing_text(spacing: tuple[float, ...]) -> str:
    """Return a spacing as a person reads it, such as ``3 × 0.8 × 0.8 mm``."""
    return " × ".join(f"{step:.4g}" for step in spacing) + " mm"
