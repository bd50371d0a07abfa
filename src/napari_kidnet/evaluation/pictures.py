"""Pictures of a result: slices of the scan with the labels in colour, and projections of the vessels."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.classes import SOFT_TISSUE_WINDOW, VESSELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Picture", "draw_pictures", "draw_projection", "draw_slice", "png_bytes"]

HEIGHT_PIXELS = 480
"""Pictures are enlarged to about this height, so that a thin vessel can be seen on a page."""

OPACITY = 0.55


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its words.

    Attributes
    ----------
    title, caption : str
        For a person.
    pixels : array of uint8, (row, column, 3)
        Red, green, blue.
    """

    title: str
    caption: str
    pixels: NDArray[np.uint8]


def draw_pictures(
    hu: NDArray[np.generic],
    labels: NDArray[np.integer],
    spacing: tuple[float, float, float],
    truth: NDArray[np.integer] | None = None,
) -> list[Picture]:
    """Return an axial and a coronal slice, each where most vessels are, and projections from the front.

    Parameters
    ----------
    hu : array, (z, y, x)
        The scan.
    labels : array of int, (z, y, x)
        The prediction, drawn as coloured areas.
    spacing : tuple of float
        Millimetres (z, y, x).
    truth : array of int, (z, y, x), optional
        Drawn as outlines, and as a projection of its own.
    """
    shown = labels if truth is None else truth
    outlines = "" if truth is None else "; the truth is outlined"
    z, y = _richest(shown, 0), _richest(shown, 1)
    pictures = [
        Picture(
            "Axial", f"Slice {z}, seen from the feet{outlines}.", draw_slice(hu, labels, spacing, 0, z, truth)
        ),
        Picture(
            "Coronal",
            f"Slice {y}, seen from the front{outlines}.",
            draw_slice(hu, labels, spacing, 1, y, truth),
        ),
        Picture("Prediction", "All vessels, seen from the front.", draw_projection(hu, labels, spacing)),
    ]
    if truth is not None:
        pictures.append(
            Picture("Truth", "All vessels, seen from the front.", draw_projection(hu, truth, spacing))
        )
    return pictures


def draw_slice(
    hu: NDArray[np.generic],
    labels: NDArray[np.integer],
    spacing: tuple[float, float, float],
    axis: int,
    index: int,
    truth: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    """Return a slice across ``axis`` (0 axial, 1 coronal, 2 sagittal) as RGB.

    The head or the front is up, and the patient's left is on the right.
    """
    grey = _windowed(np.take(hu, index, axis))
    size = _size(grey.shape, _in_plane(spacing, axis))
    pixels = np.repeat(_enlarge(grey, size, smooth=True)[..., None], 3, axis=2)
    area = _enlarge(np.take(labels, index, axis), size, smooth=False)
    line = None if truth is None else _outline(_enlarge(np.take(truth, index, axis), size, smooth=False))
    for vessel in VESSELS:
        colour = 255.0 * np.array(vessel.colour[:3], np.float32)
        pixels[area == vessel.id] *= 1.0 - OPACITY
        pixels[area == vessel.id] += OPACITY * colour
        if line is not None:
            # Lighter than the area of the same class, so that it can be told from it.
            pixels[line == vessel.id] = 0.45 * colour + 0.55 * 255.0
    return _upright(pixels.astype(np.uint8), axis)


def draw_projection(
    hu: NDArray[np.generic], labels: NDArray[np.integer], spacing: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Return the vessels over the scan's brightest values, seen from the front, as RGB with the head up."""
    grey = _windowed(np.asarray(hu).max(axis=1), low=0.0, high=900.0)
    size = _size(grey.shape, _in_plane(spacing, 1))
    pixels = np.repeat(0.6 * _enlarge(grey, size, smooth=True)[..., None], 3, axis=2)
    depth = labels.shape[1]
    nearest = np.argmax(labels != 0, axis=1)
    class_seen = np.take_along_axis(labels, nearest[:, None, :], axis=1)[:, 0]
    # What lies further back is darker: the eye reads the picture as a body and not as a shadow.
    light = _enlarge((1.0 - 0.5 * nearest / max(1, depth)).astype(np.float32), size, smooth=False)
    seen = _enlarge(class_seen, size, smooth=False)
    for vessel in VESSELS:
        here = seen == vessel.id
        pixels[here] = light[here][:, None] * (255.0 * np.array(vessel.colour[:3], np.float32))
    return _upright(pixels.astype(np.uint8), 1)


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Return RGB pixels (row, column, 3) as a PNG file."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _richest(labels: NDArray[np.integer], axis: int) -> int:
    """Return the slice with most classes, and among those with most vessel voxels."""
    others = tuple(other for other in range(3) if other != axis)
    counts = np.stack([(labels == vessel.id).sum(axis=others) for vessel in VESSELS])
    if not counts.any():
        return int(labels.shape[axis]) // 2
    return int(np.argmax((counts > 0).sum(axis=0) * (counts.sum() + 1) + counts.sum(axis=0)))


def _windowed(
    hu: NDArray[np.generic], low: float = SOFT_TISSUE_WINDOW.low, high: float = SOFT_TISSUE_WINDOW.high
) -> NDArray[np.float32]:
    scaled = (np.asarray(hu, np.float32) - low) / (high - low)
    grey: NDArray[np.float32] = 255.0 * np.clip(scaled, 0.0, 1.0)
    return grey


def _in_plane(spacing: tuple[float, float, float], axis: int) -> tuple[float, float]:
    rows, columns = (mm for each, mm in enumerate(spacing) if each != axis)
    return rows, columns


def _size(shape: tuple[int, ...], spacing: tuple[float, float]) -> tuple[int, int]:
    rows_mm, columns_mm = shape[0] * spacing[0], shape[1] * spacing[1]
    scale = HEIGHT_PIXELS / max(rows_mm, columns_mm)
    return max(1, round(rows_mm * scale)), max(1, round(columns_mm * scale))


def _enlarge(image: NDArray[np.generic], size: tuple[int, int], *, smooth: bool) -> NDArray[np.float32]:
    from PIL import Image

    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    source = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.array(source.resize((size[1], size[0]), how), dtype=np.float32)


def _outline(area: NDArray[np.float32]) -> NDArray[np.float32]:
    inner = np.ones(area.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(area, step, axis) == area
    return np.where(inner, 0.0, area).astype(np.float32)


def _upright(pixels: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    # z grows toward the head, so coronal and sagittal pictures are turned; axial ones have the front up.
    return pixels if axis == 0 else np.ascontiguousarray(pixels[::-1])
