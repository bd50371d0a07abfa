"""What fine-tuning shows on the canvas: a look at what the network says by now, and before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.plugin.layers import class_look, start_voxel

if TYPE_CHECKING:
    from napari_kidnet.labelling import Tile
    from napari_kidnet.labelling.session import Box

__all__ = ["LOOK", "Looks", "is_look", "visible_box"]

LOOK: Final = "napari-kidnet look"
"""The key in a layer's metadata that says: nobody's labels, only to look at."""

_SLICES: Final = 6
_VOXELS: Final = 64
"""To each side of the middle of the view: some seconds of one core."""


def is_look(layer: Any) -> bool:
    """Whether a layer is only to look at."""
    return LOOK in layer.metadata


def visible_box(viewer: Any, image: Any) -> Box:
    """Return the box (slices z, y, x) about the middle of what a person sees of an image."""
    middle, shape = start_voxel(viewer, image), image.data.shape
    low, high = np.zeros(3), np.asarray(shape) - 1
    if viewer.dims.ndisplay == 2:
        corners = np.asarray(image.corner_pixels, float)[:, -3:]
        low, high = np.maximum(low, corners.min(axis=0)), np.minimum(high, corners.max(axis=0))
    box = []
    for axis, (at, size) in enumerate(zip(middle, shape, strict=True)):
        reach = _SLICES if axis == 0 else _VOXELS
        flat = axis == 0 or high[axis] <= low[axis]
        first = max(0, at - reach, 0 if flat else int(low[axis]))
        last = min(size, at + reach + 1, size if flat else int(high[axis]) + 1)
        box.append(slice(first, max(first + 1, last)))
    return box[0], box[1], box[2]


class Looks:
    """The layers that fine-tuning adds to a viewer, each made when it is first needed."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer

    def layer(self, what: str) -> Any:
        """Return the layer of this name, if it is there."""
        return next((each for each in self._viewer.layers if each.metadata.get(LOOK) == what), None)

    def show(self, what: str, image: Any, labels: Any, start: tuple[int, ...] = (0, 0, 0)) -> None:
        """Show labels, uint8 (z, y, x), that begin at a voxel of an image."""
        layer = self.layer(what)
        translate = np.asarray(image.translate) + np.asarray(start) * np.asarray(image.scale)
        if layer is None:
            selected = self._viewer.layers.selection.active
            layer = self._viewer.add_labels(
                labels,
                name=what,
                opacity=0.7,
                scale=image.scale,
                translate=translate,
                units=image.units,
                axis_labels=image.axis_labels,
                metadata={LOOK: what},
                **class_look(),
            )
            layer.editable = False
            self._viewer.layers.selection.active = selected
            return
        layer.data = labels
        layer.translate = translate

    def show_tile(self, what: str, image: Any, tile: Tile) -> None:
        """Show a machine's labels of a box."""
        self.show(what, image, tile.labels, tuple(each.start for each in tile.box))

    def remove(self, *what: str) -> None:
        """Take layers away."""
        for each in what:
            layer = self.layer(each)
            if layer is not None:
                self._viewer.layers.remove(layer)

    def only(self, what: str | None, among: tuple[str, ...]) -> None:
        """Let one layer be seen, and hide the others of these."""
        for each in among:
            layer = self.layer(each)
            if layer is not None:
                layer.visible = each == what
