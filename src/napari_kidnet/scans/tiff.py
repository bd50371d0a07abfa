"""TIFF stacks: pages from the feet up, rows from front to back, columns from the right to the left."""

from __future__ import annotations

import contextlib
import logging
import math
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import ScanError
from napari_kidnet.scans.scan import StoredVolume, spacing_text
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["is_tiff", "read_tiff", "write_tiff"]

MM_PER = {
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("m", "meter", "metre"), 1000.0),
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer"), 1e-3),
    **dict.fromkeys(("nm", "nanometer"), 1e-6),
    **dict.fromkeys(("inch", "in", '"'), 25.4),
}
"""ImageJ and OME write units in all of these ways."""


def is_tiff(path: Path) -> bool:
    """Whether the name is that of a TIFF file."""
    return path.name.lower().endswith((".tif", ".tiff"))


def read_tiff(path: Path, spacing: tuple[float, float, float] | None = None) -> StoredVolume:
    """Read a TIFF stack, its spacing from ImageJ's or OME's metadata.

    Parameters
    ----------
    path : Path
        A file of one three-dimensional image.
    spacing : tuple of float, optional
        (z, y, x) in mm; used where the file does not say, and before what it says.

    Returns
    -------
    StoredVolume
        Voxels along (x, y, z).

    Raises
    ------
    ScanError
        The file is not a TIFF stack of numbers, or its spacing is neither in it nor given.
    """
    import tifffile

    try:
        with _damage_raised(), tifffile.TiffFile(path) as file:
            values = _stack_of(file, path)
            found = spacing or _spacing_in(file)
    except FileNotFoundError as error:
        raise ScanError(f"{path} does not exist; check the path.") from error
    except ScanError:
        raise
    # tifffile tells damage by whatever its parser stumbles over
    except (OSError, ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise ScanError(
            f"{path} is not a TIFF file that can be read, or it is cut off; copy it again."
        ) from error
    if found is None:
        raise ScanError(f"{path} does not say its voxel spacing; state it in mm with --spacing Z Y X.")
    if not all(math.isfinite(step) and step > 0 for step in found):
        raise ScanError(
            f"{path} has a voxel spacing of {spacing_text(found)}, which has to be positive along each axis; "
            "state it in mm with --spacing Z Y X."
        )
    z, y, x = found
    notes = (f"{path} states no directions, so its pages are taken to run from the feet up (LPS).",)
    return StoredVolume(values.transpose(), np.diag([-x, -y, z, 1.0]), "tiff", None, notes)


def write_tiff(path: Path, labels: NDArray[np.uint8], spacing: tuple[float, float, float]) -> None:
    """Write labels in (z, y, x) as a stack that ImageJ, napari and this module read with its spacing."""
    import tifffile

    z, y, x = spacing
    metadata = {"axes": "ZYX", "spacing": z, "unit": "mm"}
    stack = BytesIO()  # straight into a file, numpy tells a full disk without its error number
    tifffile.imwrite(stack, labels, imagej=True, resolution=(1 / x, 1 / y), metadata=metadata)
    with write_atomically(path) as partial:
        partial.write_bytes(stack.getbuffer())


class _Damage(logging.Handler):
    """Keeps the first thing tifffile complains about."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


@contextlib.contextmanager
def _damage_raised() -> Iterator[None]:
    """Raise ``ValueError`` for damage: tifffile only logs a lost page and goes on with fewer slices."""
    logger, damage = logging.getLogger("tifffile"), _Damage()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(damage)
    try:
        yield
    except ScanError:
        if damage.first is None:
            raise
    finally:
        logger.removeHandler(damage)
        logger.propagate = propagate
    if damage.first is not None:
        raise ValueError(damage.first)


def _stack_of(file: Any, path: Path) -> NDArray[Any]:
    """Return the first image as (z, y, x)."""
    series = file.series[0]
    axes = [axis for axis, size in zip(series.axes, series.shape, strict=True) if size > 1]
    if "S" in axes:
        raise ScanError(f"{path} is a colour image, and CT is one number per voxel; give the original CT.")
    if len(axes) != 3:
        found = " × ".join(str(size) for size in series.shape)
        raise ScanError(
            f"{path} has {len(axes)} dimensions ({found}), and a three-dimensional CT is needed; "
            f"store {'the whole stack' if len(axes) < 3 else 'one of its volumes'} as a file."
        )
    values = np.asarray(series.asarray()).squeeze()
    if values.dtype.kind not in "iuf":
        raise ScanError(f"{path} holds voxels of type {values.dtype}, and CT is one real number per voxel.")
    return values


def _spacing_in(file: Any) -> tuple[float, float, float] | None:
    """Return (z, y, x) in mm, or None if the file does not say all three."""
    if file.is_ome:
        return _spacing_in_ome(file.ome_metadata)
    if not file.is_imagej:
        return None  # plain TIFF knows the pixel, not the distance of pages
    metadata = file.imagej_metadata or {}
    unit = MM_PER.get(str(metadata.get("unit", "")).strip().lower())
    tags = file.pages[0].tags
    if unit is None or "spacing" not in metadata or "XResolution" not in tags or "YResolution" not in tags:
        return None
    per_x, per_y = (_ratio(tags[name].value) for name in ("XResolution", "YResolution"))
    if not per_x or not per_y:
        return None
    return (abs(float(metadata["spacing"])) * unit, unit / per_y, unit / per_x)


def _spacing_in_ome(xml: str) -> tuple[float, float, float] | None:
    import tifffile

    image = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    steps = []
    for axis in "ZYX":
        unit = MM_PER.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).strip().lower())
        if unit is None or f"PhysicalSize{axis}" not in pixels:
            return None
        steps.append(float(pixels[f"PhysicalSize{axis}"]) * unit)
    return (steps[0], steps[1], steps[2])


def _ratio(value: tuple[int, int]) -> float:
    return value[0] / value[1] if value[1] else 0.0
