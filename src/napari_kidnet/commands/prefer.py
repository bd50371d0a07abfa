"""``kidnet prefer``: make plain ``napari scan.nii.gz`` open scans with this plugin, without a question."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console

if TYPE_CHECKING:
    import argparse

__all__ = ["declare"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "prefer",
        help="make napari open NIfTI files with this plugin",
        description="Make napari-kidnet napari's reader of *.nii and *.nii.gz; TIFF and DICOM stay.",
    )
    verb.add_argument("--undo", action="store_true", help="let napari ask again")
    verb.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # By name, as `open` does: the plugin stands above the command line.
    settings = import_module("napari_kidnet.plugin.settings")
    console = Console()
    if options.undo:
        settings.release_reader()
        console.say("napari asks again which plugin opens *.nii.gz and *.nii.")
    else:
        settings.prefer_reader()
        console.say("napari opens *.nii.gz and *.nii with napari-kidnet (undo: kidnet prefer --undo).")
    return 0
