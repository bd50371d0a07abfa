"""What the command palette and the menus can do without a widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.layers import orient, tag_of
from napari_kidnet.plugin.settings import prefer_reader

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["cancel", "prefer", "segment_now", "show_3d"]


def segment_now(viewer: Viewer) -> None:
    """Segment the selected scan, else the only one that is there."""
    image = _scan_layer(viewer)
    if image is None:
        from napari.utils.notifications import show_info

        show_info("Open a CT scan first, then select its layer.")
        return
    Controller.of(viewer).segment(image)


def cancel(viewer: Viewer) -> None:
    """Stop what runs in this viewer after the tile that it is at."""
    Controller.of(viewer).cancel()


def show_3d(viewer: Viewer) -> None:
    """Show the vessels in 3D, the patient upright and seen from the front."""
    front_view(viewer)


def prefer() -> None:
    """Make Kid-Net the reader of NIfTI files."""
    from napari.utils.notifications import show_info

    prefer_reader()
    show_info("NIfTI files now open with Kid-Net, without a question.")


def front_view(viewer: Any) -> None:
    """Turn the viewer to 3D and hide the scans, which would hide their vessels."""
    orient(viewer)
    viewer.dims.ndisplay = 3
    for layer in viewer.layers:
        if layer._type_string == "image" and tag_of(layer) is not None:
            layer.visible = False
    viewer.reset_view(reset_camera_angle=False)


def _scan_layer(viewer: Any) -> Any:
    """Return the image layer that is meant: the selected one, a marked one, or any."""
    images = [layer for layer in viewer.layers if layer._type_string == "image"]
    active = viewer.layers.selection.active
    if active in images:
        return active
    marked = [layer for layer in images if tag_of(layer) is not None]
    return next(iter(marked or images), None)
