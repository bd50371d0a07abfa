"""Islands on the canvas: going to one, its outline, ghosts of what would be done, the labels before."""

from __future__ import annotations

from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.islands.sparse import coordinates
from napari_kidnet.islands.tubes import tube

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kidnet.islands import Bridge, Edit, IslandTable

__all__ = ["OWN_LAYERS", "IslandCanvas"]

_OUTLINE: Final = "Selected island"
_BRIDGE: Final = "Proposed bridge"
_GHOST: Final = "Preview"
_BEFORE: Final = "Labels before"
OWN_LAYERS: Final = (_OUTLINE, _BRIDGE, _GHOST, _BEFORE)
"""Names of the layers that are added here; their islands are nobody's concern."""
_ADDED: Final = 1
_TAKEN: Final = 2
_COLOURS: Final = {
    _OUTLINE: {_ADDED: "white"},
    _BRIDGE: {_ADDED: "lime"},
    _GHOST: {_ADDED: "lime", _TAKEN: "yellow"},
}
_AROUND_MM: Final = 50.0
"""What is shown of the surroundings at least, so that a tiny island is not lost in a grey patch."""
_FILLS: Final = 0.6
_CANVAS: Final = 0.6
"""About this share of the window's sides is canvas; napari does not tell."""
_MOST_VOXELS: Final = 20_000
_LETTERS: Final = 44
"""In a line over the picture, which napari does not wrap; a canvas is hardly narrower than 450 pixels."""


class IslandCanvas:
    """Draws into a viewer, beside a labels layer; the layers that it adds are small boxes.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Labels
        Whose islands are shown.
    """

    def __init__(self, viewer: Any, layer: Any) -> None:
        self._viewer, self.layer = viewer, layer
        self._told: str | None = None

    def close(self) -> None:
        """Take away what was added."""
        self.tell("")
        self.show_before(None)
        for name in OWN_LAYERS:
            self._remove(name)

    # ------------------------------------------------------------------ going there

    def go_to(self, table: IslandTable, row: int) -> None:
        """Centre the view on an island, at the slice that shows most of it, and zoom so that it fits."""
        voxels = table.voxels_of(row)
        at = coordinates(voxels[:: len(voxels) // _MOST_VOXELS + 1], table.shape)
        first = self._viewer.dims.order[0] if self._viewer.dims.ndim == 3 else 0
        slices, counts = np.unique(at[:, first], return_counts=True)
        there = at[at[:, first] == slices[np.argmax(counts)]]
        middle = there[np.argmin(((there - there.mean(axis=0)) ** 2).sum(axis=1))]
        self._centre(middle, float(max(table.extent_mm[row])))

    def go_to_bridge(self, bridge: Bridge) -> None:
        """Centre the view on the middle of a gap."""
        self._centre(bridge.path[len(bridge.path) // 2], 2 * bridge.gap_mm)

    def _centre(self, voxel: NDArray[np.integer], size_mm: float) -> None:
        viewer = self._viewer
        world = np.asarray(self.layer.data_to_world(voxel), float)
        viewer.dims.set_point(range(viewer.dims.ndim - len(world), viewer.dims.ndim), world)
        camera = getattr(viewer, "scene", viewer).camera
        camera.center = tuple(world)
        # World units are mm where the layer came from this plugin, and voxels elsewhere.
        _, _, width, height = viewer.window.geometry()
        camera.zoom = _FILLS * min(_CANVAS * width, _CANVAS * height) / max(size_mm, _AROUND_MM)

    # ------------------------------------------------------------------ outlines

    def outline(self, table: IslandTable, row: int | None) -> None:
        """Outline an island; None takes the outline away."""
        if row is None:
            self._remove(_OUTLINE)
            return
        box = table.box_of(row, 2)
        # One voxel wider: the outline then runs around a thin vessel and does not cover it.
        self._show(_OUTLINE, _wider(table.mask_of(row, 2)), [each.start for each in box])

    def bridge(self, bridge: Bridge | None, table: IslandTable) -> None:
        """Show where a bridge would run; None takes it away."""
        if bridge is None:
            self._remove(_BRIDGE)
            return
        self._show_voxels(_BRIDGE, tube(bridge.path, bridge.radii_mm, table.shape, table.spacing), None)

    def ghost(self, edit: Edit | None) -> None:
        """Show what an edit would add (green) and take away (yellow); None takes the ghost away."""
        if edit is None or not edit.voxels:
            self._remove(_GHOST)
        else:
            self._show_voxels(_GHOST, edit.labels.flat, np.where(edit.labels.after == 0, _TAKEN, _ADDED))

    def ghost_voxels(self, flat: NDArray[np.int64]) -> None:
        """Show what a brush covers."""
        self._show_voxels(_GHOST, flat, None)

    def ghost_box(self, box: tuple[slice, slice, slice]) -> None:
        """Show a box that is being drawn."""
        self._show(_GHOST, np.ones([s.stop - s.start for s in box], np.uint8), [s.start for s in box])

    def show_before(self, labels: NDArray[np.integer] | None) -> None:
        """Show other labels in the place of the layer's; None shows the layer again."""
        layers = self._viewer.layers
        if labels is None:
            if _BEFORE in layers:
                self._remove(_BEFORE)
                self.layer.visible = True
            return
        with self._same_choice():
            before = self._viewer.add_labels(
                labels,
                name=_BEFORE,
                scale=self.layer.scale,
                translate=self.layer.translate,
                units=self.layer.units,
                axis_labels=self.layer.axis_labels,
                colormap=self.layer.colormap,
                opacity=self.layer.opacity,
            )
            before.editable = False
            self.layer.visible = False

    @property
    def shows_before(self) -> bool:
        """Whether other labels are shown in the layer's place."""
        return _BEFORE in self._viewer.layers

    def tell(self, text: str) -> None:
        """Write a sentence over the picture; an empty one takes it away."""
        canvas = getattr(self._viewer, "canvas", None)  # `viewer.text_overlay` before napari 0.9
        overlay = self._viewer.text_overlay if canvas is None else canvas.overlays.text
        if text:
            overlay.text, overlay.visible = fill(text, _LETTERS), True
        elif self._told:
            overlay.text, overlay.visible = "", False
        self._told = text

    # ------------------------------------------------------------------ layers

    def _opacity(self) -> float:
        # In 3D the outline is a hull around the island.
        return 0.9 if self._viewer.dims.ndisplay == 2 else 0.45

    def _show(self, name: str, mask: NDArray[np.uint8], corner: list[int]) -> None:
        layers = self._viewer.layers
        translate = self.layer.data_to_world(corner)
        if name in layers:
            layer = layers[name]
            layer.data = mask
            layer.translate = translate
            layer.opacity = self._opacity()
            return
        from napari.utils.colormaps import DirectLabelColormap

        colours: dict[int | None, Any] = {0: "transparent", None: "transparent"}
        colours.update(_COLOURS[name].items())
        with self._same_choice():
            layer = self._viewer.add_labels(
                mask,
                name=name,
                scale=self.layer.scale,
                translate=translate,
                units=self.layer.units,
                axis_labels=self.layer.axis_labels,
                colormap=DirectLabelColormap(color_dict=colours),
                opacity=self._opacity(),
                blending="translucent_no_depth",  # in 3D it is seen through what lies before it
            )
            layer.contour = 1
            layer.editable = False

    def _show_voxels(self, name: str, flat: NDArray[np.int64], values: NDArray[np.integer] | None) -> None:
        at = coordinates(np.asarray(flat, np.int64), self.layer.data.shape)
        low, high = at.min(axis=0) - 1, at.max(axis=0) + 2
        mask = np.zeros(high - low, np.uint8)
        mask[tuple((at - low).T)] = _ADDED if values is None else values
        self._show(name, mask, low.tolist())

    @contextmanager
    def _same_choice(self) -> Iterator[None]:
        """Leave the person on the layer that was chosen."""
        _aim(self._viewer)
        layers = self._viewer.layers
        active, chosen = layers.selection.active, set(layers.selection)
        yield
        layers.selection.clear()
        layers.selection.update(chosen)
        layers.selection.active = active

    def _remove(self, name: str) -> None:
        layers = self._viewer.layers
        if name in layers:
            layers.remove(name)


def _aim(viewer: Any) -> None:
    """Tell the cursor where a 3D view looks.

    napari learns it only when the mouse moves over the canvas; until then its status line fails as soon as
    another layer is the active one (seen with 0.9.2: the mouse moved in 2D, then Ctrl+Y).
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer.dims.ndisplay == 3 and np.ndim(viewer.cursor._view_direction) == 0:
        camera = getattr(viewer, "scene", viewer).camera
        viewer.cursor._view_direction = camera.calculate_nd_view_direction(
            viewer.dims.ndim, viewer.dims.displayed
        )


def _wider(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask grown by its face neighbours."""
    grown = mask.copy()
    for axis in range(mask.ndim):
        ahead = [slice(None)] * mask.ndim
        behind = [slice(None)] * mask.ndim
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        grown[tuple(ahead)] |= mask[tuple(behind)]
        grown[tuple(behind)] |= mask[tuple(ahead)]
    return grown.astype(np.uint8)
