"""NIfTI files as bytes in and bytes out: slopes applied, geometry checked coming in and kept going out.

The header goes through nibabel; the voxels do not, because inflating with isal and looking at the
bytes in place is several times faster than nibabel's gzip stream.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from napari_kidnet.errors import ScanError
from napari_kidnet.scans.orientation import spacing_of
from napari_kidnet.scans.scan import StoredGrid, StoredVolume, spacing_text
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from nibabel import Nifti1Header
    from numpy.typing import DTypeLike, NDArray

    from napari_kidnet.scans.orientation import Affine

__all__ = ["check_affine", "description_of", "is_nifti", "read_nifti", "write_nifti"]

GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
"""The header fields that say where the voxels lie; ``pixdim`` is taken in part."""

SMALLEST_MM, LARGEST_MM = 0.02, 50.0
"""No CT of a body has smaller or larger voxels; a header that says so has the wrong unit."""

DESCRIPTION = "napari-kidnet"

COMPRESSION = 1
"""isal's level 1 packs labels within a few percent of level 2 in half the time."""


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(path: Path, *, classes: bool = False) -> StoredVolume:
    """Read a single-file NIfTI-1 or NIfTI-2 volume.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``.
    classes : bool
        Whether it is one volume for each class, along a fourth axis.

    Returns
    -------
    StoredVolume
        Voxels along (i, j, k), or (i, j, k, class), in the file's own type, or scaled by its slope and
        intercept.

    Raises
    ------
    ScanError
        The file is missing, cut off, not NIfTI, has other dimensions, or its geometry is impossible.
    """
    data = _bytes_of(path)
    header = _header_of(data, path)
    shape = _classes_shape_of(header, path) if classes else _shape_of(header, path)
    _check_pixdim(header, path)
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except ValueError as error:
        raise ScanError(f"{path} has an orientation that cannot be worked out ({error}).") from error
    check_affine(affine, path)
    affine, notes = _in_mm(affine, header, path)
    values = _voxels_of(data, header, shape, path)
    return StoredVolume(_scaled(values, header), affine, "nifti", header.binaryblock, notes)


def write_nifti(
    path: Path,
    values: NDArray[Any],
    grid: StoredGrid,
    dtype: DTypeLike,
    description: str = DESCRIPTION,
) -> None:
    """Write voxels along the stored axes (i, j, k), or (i, j, k, class), on a grid.

    Parameters
    ----------
    path : Path
        ``.nii``, or ``.nii.gz`` to pack it.
    values : array
        (i, j, k) or (i, j, k, class).
    grid : StoredGrid
        Where sform, qform, their codes and the units come from.
    dtype : dtype
        The type in the file.
    description : str
        What the header says about who wrote it, at most 79 characters.
    """
    from isal import igzip

    header = _header_for(values.shape, grid, np.dtype(dtype), description)
    with write_atomically(path) as partial, partial.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            # mtime 0: the same labels are the same bytes
            with igzip.IGzipFile("", "wb", COMPRESSION, file, 0) as packed:
                _write_voxels(packed, header, values, dtype)
        else:
            _write_voxels(file, header, values, dtype)


def description_of(path: Path) -> str:
    """Return what a NIfTI file's header says about who wrote it; "" where it cannot be read.

    Only the header is read: a whole volume would be unpacked for 80 bytes.
    """
    from isal import igzip, isal_zlib

    damage = cast("type[Exception]", isal_zlib.IsalError)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            data = igzip.IGzipFile(fileobj=file, mode="rb").read(540) if packed else file.read(540)
        header = _header_of(data, path)
    except (EOFError, OSError, ScanError, damage):
        return ""
    return bytes(header["descrip"]).rstrip(b"\0").decode("ascii", "replace")


def check_affine(affine: Affine, path: Path) -> None:
    """Raise ``ScanError`` unless the affine spans a volume."""
    if not np.isfinite(affine).all():
        raise ScanError(f"{path} has an affine with NaN or infinite numbers; repair its header first.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (lengths <= 0).any() or abs(np.linalg.det(affine[:3, :3] / np.where(lengths > 0, lengths, 1))) < 1e-4:
        raise ScanError(
            f"{path} has an affine that cannot be inverted (its axes do not span a volume); "
            "repair its header first."
        )


def _bytes_of(path: Path) -> bytes:
    from isal import igzip, isal_zlib

    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ScanError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise ScanError(f"{path} cannot be read: {error.strerror or error}.") from error
    if data[:2] != b"\x1f\x8b":
        return data
    # isal's type stubs declare the class as an instance
    damage = cast("type[Exception]", isal_zlib.IsalError)
    try:
        inflated: bytes = igzip.decompress(data)
    except (EOFError, damage, OSError) as error:
        raise ScanError(
            f"{path} is cut off or damaged: its compressed data cannot be unpacked to the end; copy it again."
        ) from error
    return inflated


def _header_of(data: bytes, path: Path) -> Nifti1Header:
    import nibabel

    for kind, size in ((nibabel.Nifti1Header, 348), (nibabel.Nifti2Header, 540)):
        if len(data) >= size and size in (
            int.from_bytes(data[:4], "little"),
            int.from_bytes(data[:4], "big"),
        ):
            magic = data[344:347] if size == 348 else data[4:7]
            if magic in (b"n+1", b"n+2"):
                # check=False: nibabel would silently turn a zero spacing into 1 mm
                return kind(data[:size], check=False)
    raise ScanError(
        f"{path} is not a NIfTI file, whatever its name says; "
        "give a NIfTI file, a TIFF stack or a DICOM folder."
    )


def _shape_of(header: Nifti1Header, path: Path) -> tuple[int, int, int]:
    """Return the three sizes; trailing axes of one voxel are dropped."""
    rank = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : 1 + max(0, min(rank, 7))]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if not 1 <= rank <= 7 or min(sizes) < 1:
        raise ScanError(f"{path} has a damaged header: it gives its size as {sizes}; copy it again.")
    if len(sizes) != 3:
        found = " × ".join(str(size) for size in sizes)
        raise ScanError(
            f"{path} has {len(sizes)} dimensions ({found}), and a three-dimensional CT is needed; "
            f"store {'the whole stack' if len(sizes) < 3 else 'one of its volumes'} as a file."
        )
    if min(sizes) < 2:
        found = " × ".join(str(size) for size in sizes)
        raise ScanError(f"{path} is a single slice ({found} voxels), and a three-dimensional CT is needed.")
    return (sizes[0], sizes[1], sizes[2])


def _classes_shape_of(header: Nifti1Header, path: Path) -> tuple[int, int, int, int]:
    """Return the three sizes and the number of classes."""
    rank = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : 1 + max(0, min(rank, 7))]]
    if len(sizes) != 4 or min(sizes) < 2:
        found = " × ".join(str(size) for size in sizes)
        raise ScanError(
            f"{path} has the size {found}, and a volume for each class along a fourth axis is needed; give "
            "what kidnet segment --probabilities writes."
        )
    return (sizes[0], sizes[1], sizes[2], sizes[3])


def _check_pixdim(header: Nifti1Header, path: Path) -> None:
    steps = tuple(float(step) for step in header["pixdim"][1:4])
    if not all(math.isfinite(step) and step > 0 for step in steps):
        raise ScanError(
            f"{path} has a voxel spacing of {spacing_text(steps)}, which has to be positive along each axis; "
            "repair its header first."
        )


def _in_mm(affine: Affine, header: Nifti1Header, path: Path) -> tuple[Affine, tuple[str, ...]]:
    """Turn the header's metres or micrometres to mm, unless no CT has such voxels."""
    unit, mm = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))
    spacing = spacing_of(affine @ np.diag([mm, mm, mm, 1.0]))
    if min(spacing) < SMALLEST_MM or max(spacing) > LARGEST_MM:
        size = spacing_text(spacing_of(affine)).removesuffix(" mm")
        note = f"{path} states a voxel size of {size} {unit}, which is taken as mm."
        return affine, (note,) if mm != 1.0 else ()
    return np.diag([mm, mm, mm, 1.0]) @ affine, ()


def _voxels_of(data: bytes, header: Nifti1Header, shape: tuple[int, ...], path: Path) -> NDArray[Any]:
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
    except HeaderDataError as error:
        raise ScanError(f"{path} has a damaged header: {error}.") from error
    if dtype.kind not in "iuf":
        raise ScanError(f"{path} holds voxels of type {dtype}, and CT is one real number per voxel.")
    offset = int(header["vox_offset"])
    expected = math.prod(shape) * dtype.itemsize
    if offset < int(header["sizeof_hdr"]) or len(data) - offset < expected:
        raise ScanError(
            f"{path} is cut off: it holds {max(0, len(data) - offset)} of {expected} bytes of voxels; "
            "copy it again."
        )
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape, order="F")


def _scaled(values: NDArray[Any], header: Nifti1Header) -> NDArray[Any]:
    """Apply slope and intercept, in integers where they are integers."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0:  # the standard's way to say "not scaled"
        return values
    if not math.isfinite(intercept):
        intercept = 0.0
    if (slope, intercept) == (1.0, 0.0):
        return values
    if values.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        wide = np.int64 if values.dtype.itemsize > 2 else np.int32
        return values.astype(wide) * int(slope) + int(intercept)
    scaled = np.empty(values.shape, np.float32, order="F")
    for slab in range(values.shape[2]):  # a whole volume of float64 would be four times the file
        scaled[:, :, slab] = values[:, :, slab] * np.float64(slope) + intercept
    return scaled


def _header_for(shape: tuple[int, ...], grid: StoredGrid, dtype: np.dtype[Any], description: str) -> bytes:
    import nibabel

    source = None
    kind = nibabel.Nifti1Header
    if grid.header is not None:
        kind = nibabel.Nifti1Header if len(grid.header) == 348 else nibabel.Nifti2Header
        source = kind(grid.header, check=False)
    header = kind()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    if source is None:
        header.set_sform(grid.affine, 1)
        header.set_qform(grid.affine, 1)
        header.set_xyzt_units("mm", "sec")
    else:
        for field in GEOMETRY:
            header[field] = source[field]
        header["pixdim"][:4] = source["pixdim"][:4]
    header.set_slope_inter(1, 0)
    header.set_data_offset(352 if kind is nibabel.Nifti1Header else 544)
    header["descrip"] = description.encode("ascii")
    with BytesIO() as block:
        header.write_to(block)
        return block.getvalue().ljust(int(header["vox_offset"]), b"\0")


def _write_voxels(file: IO[bytes], header: bytes, values: NDArray[Any], dtype: DTypeLike) -> None:
    """Write in slabs along the slowest axis, so that no second copy of the volume is made."""
    file.write(header)
    for slab in np.moveaxis(values, -1, 0):
        file.write(np.ascontiguousarray(slab.T, dtype).data)
