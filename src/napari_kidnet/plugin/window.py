"""``kidnet open``: napari with a scan, the segmentation running, and the widgets docked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_kidnet.plugin import warming
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.settings import preferences

__all__ = ["open_scan", "show_scan"]


def open_scan(path: Path | str, segment: bool = True) -> None:
    """Open a scan in napari and return when its window is closed.

    Parameters
    ----------
    path : Path or str
        NIfTI file, TIFF stack, or folder with a DICOM series.
    segment : bool, optional
        Whether to segment it at once, whatever the Preferences page says.

    Raises
    ------
    ScanError
        The scan cannot be read; no window is opened.
    """
    import napari

    viewer = napari.Viewer(show=False)
    try:
        show_scan(viewer, path, segment)
    except BaseException:
        viewer.close()
        raise
    viewer.show()
    napari.run()


def show_scan(viewer: Any, path: Path | str, segment: bool) -> Any:
    """Read a scan into a viewer and dock the widgets; return its image layer.

    Raises
    ------
    ScanError
        The scan cannot be read.
    """
    from napari_kidnet.plugin.layers import scan_keywords
    from napari_kidnet.scans import read_scan

    if segment:
        warming.warm_up(preferences().checkpoint)
    scan = read_scan(Path(path))
    Controller.of(viewer)
    image = viewer.add_image(scan.hu, **scan_keywords(scan, segment_on_arrival=segment))
    viewer.window.add_plugin_dock_widget("napari-kidnet", "Segment")
    return image
