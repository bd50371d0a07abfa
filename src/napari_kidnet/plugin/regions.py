"""A box to segment, drawn as rectangles in a shapes layer."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from napari_kidnet.errors import SettingsError

__all__ = ["add_region_layer", "box_of_shapes", "is_region_layer"]

_MARK: Final = "napari-kidnet region"


def is_region_layer(layer: Any) -> bool:
    """Whether a layer holds the rectangles of a region."""
    return layer._type_string == "shapes" and bool(layer.metadata.get(_MARK))


def add_region_layer(viewer: Any, image: Any) -> Any:
    """Return the viewer's region layer, ready to draw on; a new one lies on the image's grid."""
    layer = next((each for each in viewer.layers if is_region_layer(each)), None)
    if layer is None:
        layer = viewer.add_shapes(
            ndim=3,
            name="Region to segment",
            face_color="transparent",
            edge_color="yellow",
            edge_width=1,
            scale=image.scale,
            translate=image.translate,
            units=image.units,
            axis_labels=image.axis_labels,
            metadata={_MARK: True},
        )
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def box_of_shapes(layers: list[Any], image: Any) -> tuple[int, int, int, int, int, int]:
    """Return the box in voxels of an image that shapes span.

    A direction in which all shapes lie on one slice is not bounded by them.

    Returns
    -------
    tuple of int
        (z0, z1, y0, y1, x0, x1), the ends excluded.

    Raises
    ------
    SettingsError
        There are no shapes, or they lie beside the image.
    """
    corners = [layer.data_to_world(corner) for layer in layers for shape in layer.data for corner in shape]
    if not corners:
        raise SettingsError("No box is drawn: press Draw, and drag a rectangle over the kidneys.")
    voxels = np.array([image.world_to_data(corner) for corner in corners], float)
    low = np.floor(voxels.min(axis=0) + 0.5).astype(int)
    high = np.ceil(voxels.max(axis=0) + 0.5).astype(int)
    size = np.asarray(image.data.shape)
    flat = np.ptp(voxels, axis=0) < 0.5
    low, high = np.where(flat, 0, np.maximum(low, 0)), np.where(flat, size, np.minimum(high, size))
    if (low >= high).any():
        raise SettingsError(f"The drawn box lies beside the scan {image.name}: draw it on the scan.")
    z, y, x = zip(low.tolist(), high.tolist(), strict=True)
    return (*z, *y, *x)
