"""Labels on a scan's own grid, and back from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import LabelsError, OutputError, ScanError
from napari_kidnet.scans.intensity import all_whole
from napari_kidnet.scans.nifti import DESCRIPTION, description_of, is_nifti, read_nifti, write_nifti
from napari_kidnet.scans.orientation import Affine, AxisOrder, nearest_axes
from napari_kidnet.scans.tiff import is_tiff, read_tiff, write_tiff

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from napari_kidnet.scans.scan import Scan

__all__ = ["are_predicted", "order_on", "read_labels", "write_labels"]

PREDICTED = f"{DESCRIPTION} prediction"
"""The description of labels that a network made. Other programs write their own, or keep this one."""

TOLERANCE_VOXELS = 0.1
"""Two grids are one if no corner lies farther apart: programs round the numbers of an affine."""


def write_labels(
    path: str | os.PathLike[str], labels: NDArray[Any], like: Scan, *, predicted: bool = False
) -> None:
    """Write labels as uint8 on the scan's own grid, with the affine, codes and units of its file.

    Parameters
    ----------
    path : path-like
        ``.nii.gz``, ``.nii``, or ``.tif``/``.tiff`` for a stack in (z, y, x).
    labels : array of integers
        (z, y, x) of the scan, 0…255.
    like : Scan
        The scan they belong to.
    predicted : bool
        A network made them and no mask of what was reviewed is written: the file says so, and nothing
        learns from it as from a person's labels. (A TIFF stack has no place to say so.)

    Raises
    ------
    LabelsError
        The labels are not the scan's, or not 0…255.
    OutputError
        They cannot be written there.
    """
    target = Path(path)
    if labels.shape != like.shape:
        raise LabelsError(
            f"{target} was not written: the labels have {_size(labels.shape)} voxels (z, y, x), "
            f"and {like.name} has {_size(like.shape)}."
        )
    if labels.dtype.kind not in "biu" or (labels.size and not 0 <= labels.min() <= labels.max() <= 255):
        raise LabelsError(f"{target} was not written: labels are whole numbers from 0 to 255.")
    small = labels.astype(np.uint8, copy=False)
    if is_tiff(target):
        write_tiff(target, small, like.spacing)
    elif is_nifti(target):
        description = PREDICTED if predicted else DESCRIPTION
        write_nifti(target, like.stored.order.to_stored(small), like.stored, np.uint8, description)
    else:
        raise OutputError(f"{target} was not written: labels are written as .nii.gz, .nii or .tif.")


def are_predicted(path: str | os.PathLike[str]) -> bool:
    """Whether a label file says that a network made it, as `write_labels` marks it."""
    return is_nifti(Path(path)) and description_of(Path(path)) == PREDICTED


def read_labels(
    path: str | os.PathLike[str], like: Scan | None = None
) -> NDArray[np.uint8] | NDArray[np.int32]:
    """Read labels in (z, y, x) LPS.

    Parameters
    ----------
    path : path-like
        A NIfTI file or a TIFF stack.
    like : Scan, optional
        The scan they have to lie on; another order of axes in the same place is turned to the scan's.

    Returns
    -------
    array of uint8, or int32 if there are numbers above 255
        (z, y, x).

    Raises
    ------
    LabelsError
        It cannot be read, holds other than whole numbers from 0, or lies on another grid.
    """
    source = Path(path)
    try:
        volume = (
            read_tiff(source, like.spacing if like else (1.0, 1.0, 1.0))
            if is_tiff(source)
            else read_nifti(source)
        )
    except ScanError as error:
        raise LabelsError(str(error)) from error
    whole = _whole(volume.values, source)
    if like is None:
        return np.ascontiguousarray(nearest_axes(volume.affine).from_stored(whole))
    if is_tiff(source):  # a stack states no place: it is the scan's if it has its size
        if whole.shape[::-1] != like.shape:
            raise LabelsError(_other_size(source, whole.shape[::-1], like))
        return np.ascontiguousarray(whole.transpose())
    return np.ascontiguousarray(order_on(like, volume.affine, whole.shape, source).from_stored(whole))


def order_on(like: Scan, affine: Affine, shape: tuple[int, ...], source: Path) -> AxisOrder:
    """Return the way from a file's stored axes to a scan's, and refuse a file that lies elsewhere.

    Parameters
    ----------
    like : Scan
        Where the voxels have to lie.
    affine : array, shape (4, 4)
        From the file's stored indices (i, j, k) to mm.
    shape : tuple of int
        Its voxels along (i, j, k).
    source : Path
        Its name, for what is said.

    Raises
    ------
    LabelsError
        It has another size, or lies elsewhere.
    """
    order = nearest_axes(affine, like.affine)
    turned = tuple(shape[axis] for axis in order.axes)
    if turned != like.shape:
        raise LabelsError(_other_size(source, turned, like))
    apart = _voxels_apart(order.affine_of(affine, shape), like)
    if apart > TOLERANCE_VOXELS:
        raise LabelsError(
            f"{source} lies elsewhere than {like.name}: their corners are up to {apart:.3g} voxels apart "
            f"(affines {_affine_text(affine)} and {_affine_text(like.stored.affine)}); "
            "give labels made on this scan's grid."
        )
    return order


def _whole(values: NDArray[Any], source: Path) -> NDArray[Any]:
    """Return the values as uint8, or int32 if there are larger ones."""
    if values.dtype.kind == "f" and not all_whole(values):
        raise LabelsError(f"{source} holds fractions or NaN, and labels are whole numbers; is it a scan?")
    low, high = values.min(), values.max()
    if low < 0 or high > np.iinfo(np.int32).max:
        raise LabelsError(f"{source} holds values from {low} to {high}, and labels begin at 0; is it a scan?")
    return values.astype(np.uint8) if high <= 255 else values.astype(np.int32)


def _voxels_apart(affine: Affine, like: Scan) -> float:
    """Return the largest distance between the same corners of two grids of one shape, in voxels."""
    z, y, x = like.shape
    far = np.array([x - 1, y - 1, z - 1])
    corners = np.array(
        [[*(far * pick), 1] for pick in np.ndindex(2, 2, 2)], np.float64
    ).T  # (x y z 1, corner)
    apart = np.linalg.norm(((affine - like.affine) @ corners)[:3], axis=0)
    return float(apart.max() / min(like.spacing))


def _other_size(source: Path, shape: tuple[int, ...], like: Scan) -> str:
    return (
        f"{source} has {_size(shape)} voxels (z, y, x), and {like.name} has {_size(like.shape)}; "
        "give labels made on this scan's grid."
    )


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape)


def _affine_text(affine: Affine) -> str:
    return str([[round(float(value), 3) for value in row] for row in affine[:3]])
