"""``kidnet open``: napari with a scan, its segmentation under way, and the widgets docked."""

from __future__ import annotations

import os
import sys
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.options import add_scan_options, reading_options
from napari_kidnet.errors import KidnetError

if TYPE_CHECKING:
    import argparse

__all__ = ["declare"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "open",
        help="open a scan in napari and segment it",
        description="Open a scan in napari, segment it, and dock the widgets.",
    )
    verb.add_argument("scan", type=Path, metavar="SCAN", help="NIfTI, TIFF stack, or DICOM folder")
    verb.add_argument("--no-segment", action="store_true", help="only open it")
    add_scan_options(verb)
    verb.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    _check_window()

    from napari_kidnet.scans import read_scan

    scan = read_scan(options.scan, **reading_options(options))
    # By name, as napari itself does from the manifest: the plugin stands above the command line.
    import_module("napari_kidnet.plugin.window").open_scan(scan, segment=not options.no_segment)
    return 0


def _check_window() -> None:
    """Refuse where Qt would end the process itself, without a word that helps."""
    if not any(util.find_spec(name) for name in ("PyQt6", "PySide6", "PyQt5")):
        raise KidnetError(
            "a window needs Qt, which is not installed: run  pip install 'napari-kidnet[qt]'  first."
        )
    headless = sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if headless and not os.environ.get("QT_QPA_PLATFORM"):
        raise KidnetError(
            "there is no display to open a window on: run this on a desktop, or use kidnet segment."
        )
