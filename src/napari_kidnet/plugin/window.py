"""``kidnet open``: napari with a scan, the segmentation running, and the widgets docked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_kidnet.plugin import warming
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.layers import scan_keywords
from napari_kidnet.plugin.settings import preferences

if TYPE_CHECKING:
    from napari_kidnet.scans import Scan

__all__ = ["open_scan", "show_scan"]


def open_scan(scan: Scan, segment: bool = True) -> None:
    """Open a scan in napari and return when its window is closed.

    Parameters
    ----------
    scan : Scan
        As it was read: what cannot be read is known before there is a window.
    segment : bool, optional
        Whether to segment it at once, whatever the Preferences page says.
    """
    import napari

    if segment:
        warming.warm_up(preferences().checkpoint)
    show_scan(napari.Viewer(), scan, segment)
    napari.run()


def show_scan(viewer: Any, scan: Scan, segment: bool) -> Any:
    """Show a scan in a viewer and dock the widgets; return its image layer."""
    Controller.of(viewer)
    image = viewer.add_image(scan.hu, **scan_keywords(scan, segment_on_arrival=segment))
    viewer.window.add_plugin_dock_widget("napari-kidnet", "Segment")
    dock, _ = viewer.window.add_plugin_dock_widget("napari-kidnet", "Fine-tune", tabify=True)
    for each in viewer.window._qt_window.tabifiedDockWidgets(dock):
        if "Segment" in each.windowTitle() or "Segment" in each.name:
            each.raise_()
    return image
