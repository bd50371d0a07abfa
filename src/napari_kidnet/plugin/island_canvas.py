"""Islands on the canvas: going to one, its outline, the ghost of a bridge, and which one was clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.islands.sparse import coordinates
from napari_kidnet.islands.tubes import tube

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_kidnet.islands import Bridge, IslandTable

__all__ = ["IslandCanvas"]

_OUTLINE: Final = "Selected island"
_GHOST: Final = "Proposed bridge"
_COLOURS: Final = {_OUTLINE: "white", _GHOST: "lime"}
_AROUND_MM: Final = 50.0
"""What is shown of the surroundings at least, so that a tiny island is not lost in a grey patch."""
_FILLS: Final = 0.6
_CANVAS: Final = 0.6
"""About this share of the window's sides is canvas; napari does not tell."""
_MOST_VOXELS: Final = 20_000


class IslandCanvas:
    """Draws into a viewer, beside a labels layer; the layers that it adds are small boxes.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Labels
        Whose islands are shown.
    on_click : callable
        Called with the voxel (z, y, x) that was clicked without dragging.
    """

    def __init__(self, viewer: Any, layer: Any, on_click: Callable[[tuple[int, ...]], None]) -> None:
        self._viewer, self.layer, self._on_click = viewer, layer, on_click
        viewer.mouse_drag_callbacks.append(self._drag)

    def close(self) -> None:
        """Take away what was added."""
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)
        for name in _COLOURS:
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

    def ghost(self, bridge: Bridge | None, table: IslandTable) -> None:
        """Show where a bridge would run; None takes it away."""
        if bridge is None:
            self._remove(_GHOST)
            return
        flat = tube(bridge.path, bridge.radii_mm, table.shape, table.spacing)
        at = coordinates(np.asarray(flat, np.int64), table.shape)
        low, high = at.min(axis=0) - 1, at.max(axis=0) + 2
        mask = np.zeros(high - low, np.uint8)
        mask[tuple((at - low).T)] = 1
        self._show(_GHOST, mask, low.tolist())

    def _opacity(self) -> float:
        # In 3D the outline is a hull around the island.
        return 0.9 if self._viewer.dims.ndisplay == 2 else 0.25

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

        active, chosen = layers.selection.active, set(layers.selection)
        layer = self._viewer.add_labels(
            mask,
            name=name,
            scale=self.layer.scale,
            translate=translate,
            units=self.layer.units,
            axis_labels=self.layer.axis_labels,
            colormap=DirectLabelColormap(
                color_dict={0: "transparent", 1: _COLOURS[name], None: "transparent"}
            ),
            opacity=self._opacity(),
        )
        layer.contour = 1
        layer.editable = False
        # The person goes on working on the layer that was chosen.
        layers.selection.clear()
        layers.selection.update(chosen)
        layers.selection.active = active

    def _remove(self, name: str) -> None:
        layers = self._viewer.layers
        if name in layers:
            layers.remove(name)

    # ------------------------------------------------------------------ clicks

    def _drag(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Take a press and release in one place, with the plain left button, as a click on a voxel."""
        if event.button != 1 or event.modifiers or str(self.layer.mode).lower() not in ("pan_zoom", "pick"):
            return
        began = np.asarray(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos) - began).max() > 3:
            return
        voxel = self._voxel_under(event)
        if voxel is not None:
            self._on_click(voxel)

    def _voxel_under(self, event: Any) -> tuple[int, ...] | None:
        layer = self.layer
        if len(event.dims_displayed) == 2:
            at = np.rint(np.asarray(layer.world_to_data(event.position))).astype(int)
            inside = ((at >= 0) & (at < layer.data.shape)).all()
            return tuple(at.tolist()) if inside else None
        start, end = layer.get_ray_intersections(event.position, event.view_direction, event.dims_displayed)
        if start is None or end is None:
            return None
        steps = max(2, int(2 * np.linalg.norm(np.subtract(end, start))))
        ray = np.rint(np.linspace(start, end, steps)).astype(int)
        ray = ray[((ray >= 0) & (ray < layer.data.shape)).all(axis=1)]
        hit = np.flatnonzero(layer.data[tuple(ray.T)])
        return tuple(ray[hit[0]].tolist()) if hit.size else None


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
