"""The mouse on the canvas, for islands: clicks on a voxel, strokes, boxes, and Shift with the wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from napari_kidnet.islands.tubes import straight_line
from napari_kidnet.labelling.correcting.brush import brightest_on

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_kidnet.islands import Context

__all__ = ["Gesture", "IslandPointer", "Voxel"]

Voxel = tuple[int, int, int]
Gesture = Literal["click", "stroke", "box"]


class Pointed(Protocol):
    """What is told of the mouse."""

    @property
    def gesture(self) -> Gesture:
        """What a drag means."""

    def clicked(self, voxel: Voxel) -> None:
        """Take a press and release in one place."""

    def dragged(self, voxels: list[Voxel], *, done: bool) -> None:
        """Take a stroke's voxels, or a box's two corners, so far."""

    def moved(self, voxel: Voxel | None) -> None:
        """Take the voxel under a mouse that presses nothing."""

    def wheeled(self, steps: float) -> None:
        """Take steps of the wheel with Shift."""


class IslandPointer:
    """Follows the mouse over a labels layer; napari's own modes of the layer come first.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Labels
    told : Pointed
        Whose ``gesture`` says what a drag means; a drag moves the view where it is "click".
    """

    def __init__(self, viewer: Any, layer: Any, told: Pointed) -> None:
        self._viewer, self._layer, self._told = viewer, layer, told
        self.context: Context | None = None
        viewer.mouse_drag_callbacks.append(self._drag)
        viewer.mouse_wheel_callbacks.append(self._wheel)
        viewer.mouse_move_callbacks.append(self._move)

    def close(self) -> None:
        """Let go of the mouse."""
        viewer = self._viewer
        for callbacks, mine in (
            (viewer.mouse_drag_callbacks, self._drag),
            (viewer.mouse_wheel_callbacks, self._wheel),
            (viewer.mouse_move_callbacks, self._move),
        ):
            if mine in callbacks:
                callbacks.remove(mine)

    def _drag(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or event.modifiers or str(self._layer.mode).lower() not in ("pan_zoom", "pick"):
            return
        if self._told.gesture == "click":
            yield from self._click(event)
        else:
            yield from self._stroke(event)

    def _click(self, event: Any) -> Generator[None, None, None]:
        began = np.asarray(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        voxel = self.voxel_under(event)
        if np.abs(np.asarray(event.pos) - began).max() <= 3 and voxel is not None:
            self._told.clicked(voxel)

    def _stroke(self, event: Any) -> Generator[None, None, None]:
        first = self.voxel_under(event)
        if first is None:
            return
        event.handled = True  # or the view would move along
        voxels = [first]
        self._told.dragged(voxels, done=False)
        yield
        while event.type == "mouse_move":
            event.handled = True
            here = self.voxel_under(event)
            if here is not None and here != voxels[-1]:
                if self._told.gesture == "stroke":
                    voxels += [(z, y, x) for z, y, x in straight_line(voxels[-1], here)[1:].tolist()]
                else:
                    voxels = [first, here]
                self._told.dragged(voxels, done=False)
            yield
        self._told.dragged(voxels, done=True)

    def _wheel(self, viewer: Any, event: Any) -> None:
        if list(event.modifiers) == ["Shift"]:
            # Some systems turn the wheel sideways while Shift is held.
            self._told.wheeled(float(event.delta[1] or event.delta[0]))

    def _move(self, viewer: Any, event: Any) -> None:
        if self._told.gesture == "stroke":
            self._told.moved(self.voxel_under(event))

    def voxel_under(self, event: Any) -> Voxel | None:
        """Return the voxel (z, y, x) under the mouse; in 3D the first labelled one, else the brightest."""
        layer = self._layer
        if len(event.dims_displayed) == 2:
            at = np.rint(np.asarray(layer.world_to_data(event.position))).astype(int)
            inside = ((at >= 0) & (at < layer.data.shape)).all()
            return (int(at[0]), int(at[1]), int(at[2])) if inside else None
        start, end = layer.get_ray_intersections(event.position, event.view_direction, event.dims_displayed)
        if start is None or end is None:
            return None
        steps = max(2, int(2 * np.linalg.norm(np.subtract(end, start))))
        ray = np.rint(np.linspace(start, end, steps)).astype(int)
        ray = ray[((ray >= 0) & (ray < layer.data.shape)).all(axis=1)]
        if self.context is None:
            return None
        hit = brightest_on(ray, self.context, layer.data)
        return None if hit is None else (int(ray[hit][0]), int(ray[hit][1]), int(ray[hit][2]))
