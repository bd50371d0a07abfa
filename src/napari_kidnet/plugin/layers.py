"""Scans and labels as napari layers: where they lie, how they look, and which scan they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.classes import CLASSES, SOFT_TISSUE_WINDOW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_kidnet.scans import Scan

__all__ = [
    "AXES",
    "FRONT_VIEW",
    "TOKEN",
    "ScanTag",
    "class_look",
    "labels_keywords",
    "orient",
    "placement",
    "scan_keywords",
    "scan_of",
    "start_voxel",
    "tag_of",
]

TOKEN: Final = "napari-kidnet"
"""The key in a layer's metadata under which its `ScanTag` is found."""

FRONT_VIEW: Final = (0.0, 0.0, -90.0)
"""The camera's angles that look from the patient's front to the back, head up."""

AXES: Final = ("head ↑", "back ↓", "left →")
"""What the axes (z, y, x) point to."""


@dataclass(slots=True, eq=False)
class ScanTag:
    """What marks a layer as ours.

    Attributes
    ----------
    scan : Scan
        The scan that the layer shows, or whose labels it holds.
    segment_on_arrival : bool
        Whether the layer is to be segmented as soon as it is in a viewer; used up once.
    """

    scan: Scan
    segment_on_arrival: bool = False


def placement(spacing: Any, affine: NDArray[np.floating] | None) -> dict[str, Any]:
    """Where a volume lies in napari's world, which is LPS in mm, in (z, y, x) order.

    Oblique volumes are shown along their own axes: napari cannot slice a sheared or rotated one.

    Parameters
    ----------
    spacing : sequence of float
        Voxel size (z, y, x) in mm.
    affine : ndarray, (4, 4), or None
        From voxel indices (x, y, z) of the (z, y, x) LPS array to RAS mm.
    """
    origin = np.zeros(3) if affine is None else np.asarray(affine, float)[:3, 3]
    return {
        "scale": tuple(float(s) for s in spacing),
        "translate": (float(origin[2]), float(-origin[1]), float(-origin[0])),
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXES,
    }


def scan_keywords(scan: Scan, *, segment_on_arrival: bool) -> dict[str, Any]:
    """Keywords of the image layer of a scan: gray, soft-tissue window, in mm."""
    return {
        "name": scan.name,
        "colormap": "gray",
        "contrast_limits": SOFT_TISSUE_WINDOW.limits,
        "metadata": {TOKEN: ScanTag(scan, segment_on_arrival)},
        **placement(scan.spacing, scan.affine),
    }


def class_look() -> dict[str, Any]:
    """Colours of the classes, and their names for the status bar."""
    import pandas as pd  # type: ignore[import-untyped]
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {each.id: each.colour for each in CLASSES}
    colours[0] = "transparent"
    colours[None] = "magenta"  # a value that is none of our classes
    return {
        "colormap": DirectLabelColormap(color_dict=colours),
        "features": pd.DataFrame(
            {"index": [each.id for each in CLASSES], "class": [each.title for each in CLASSES]}
        ),
    }


def labels_keywords(image: Any, scan: Scan) -> dict[str, Any]:
    """Keywords of a labels layer that lies on an image layer."""
    return {
        "name": f"{image.name} vessels",
        "opacity": 0.6,
        "scale": image.scale,
        "translate": image.translate,
        "units": image.units,
        "axis_labels": image.axis_labels,
        "metadata": {TOKEN: ScanTag(scan)},
        **class_look(),
    }


def tag_of(layer: Any) -> ScanTag | None:
    """Return the mark that this plugin left on a layer, if any."""
    metadata: Mapping[str, Any] = getattr(layer, "metadata", {})
    tag = metadata.get(TOKEN)
    return tag if isinstance(tag, ScanTag) else None


def scan_of(layer: Any) -> Scan | None:
    """Return the scan of an image layer: the one it was read from, else one made of its data.

    Returns
    -------
    Scan or None
        None where the layer cannot be a CT: not three-dimensional, multiscale or RGB.
    """
    tag = tag_of(layer)
    if tag is not None:
        return tag.scan
    if getattr(layer, "rgb", False) or getattr(layer, "multiscale", False) or layer.ndim != 3:
        return None
    from napari_kidnet.scans import Scan

    data = np.asarray(layer.data)
    z, y, x = (float(s) for s in layer.scale)
    hu = data.astype(np.int16 if data.dtype.kind in "iu" else np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])  # (x, y, z) LPS to RAS
    affine[:3, :3] *= np.asarray(layer.scale[::-1], float)
    affine[:3, 3] = np.array([-1.0, -1.0, 1.0]) * np.asarray(layer.translate[::-1], float)
    return Scan.from_array(hu, (z, y, x), name=layer.name, affine=affine)


def orient(viewer: Any) -> None:
    """Turn the 3D camera so that left is left: napari's default mirrors an LPS volume.

    The patient then stands upright and is seen from the front, as soon as 3D is switched on.
    """
    scene = getattr(viewer, "scene", viewer)  # `viewer.camera` before napari 0.9
    scene.camera.orientation = ("away", "down", "right")
    scene.camera.angles = FRONT_VIEW


def start_voxel(viewer: Any, image: Any) -> tuple[int, int, int]:
    """Return the voxel (z, y, x) in the middle of what the viewer shows of an image."""
    world = np.asarray(viewer.dims.point, float)[-3:].copy()
    if viewer.dims.ndisplay == 2:
        centre = np.asarray(getattr(viewer, "scene", viewer).camera.center, float)
        for axis, value in zip(viewer.dims.displayed, centre[-2:], strict=True):
            world[axis - (viewer.dims.ndim - 3)] = value
    voxel = np.rint(np.asarray(image.world_to_data(world), float))
    top = np.asarray(image.data.shape) - 1
    z, y, x = (int(v) for v in np.clip(voxel, 0, top))
    return z, y, x
