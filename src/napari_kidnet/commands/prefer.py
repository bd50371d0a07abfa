"""``kidnet prefer``: make plain ``napari scan.nii.gz`` open scans with this plugin, without a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.commands.console import Console

if TYPE_CHECKING:
    import argparse

__all__ = ["declare", "is_preferred", "prefer_reader", "release_reader"]

_PLUGIN: Final = "napari-kidnet"
_PATTERNS: Final = ("*.nii.gz", "*.nii")
"""Most specific first: napari takes the first of the patterns that match equally well, and its own
dialog stores ``*.gz`` where a person meant ``*.nii.gz``."""


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
    console = Console()
    if options.undo:
        release_reader()
        console.say("napari asks again which plugin opens *.nii.gz and *.nii.")
    else:
        prefer_reader()
        console.say("napari opens *.nii.gz and *.nii with napari-kidnet (undo: kidnet prefer --undo).")
    return 0


def prefer_reader() -> None:
    """Put our patterns first among napari's preferred readers, and keep all others."""
    settings = _napari_settings()
    ours = dict.fromkeys(_PATTERNS, _PLUGIN)
    _store(settings, {**ours, **_without(settings.plugins.extension2reader, _PATTERNS)})


def release_reader() -> None:
    """Take our patterns out of napari's preferred readers, where they name us."""
    settings = _napari_settings()
    chosen = settings.plugins.extension2reader
    _store(settings, _without(chosen, [each for each in _PATTERNS if chosen.get(each) == _PLUGIN]))


def is_preferred() -> bool:
    """Return whether NIfTI files open with napari-kidnet without a question."""
    chosen = _napari_settings().plugins.extension2reader
    return all(chosen.get(pattern) == _PLUGIN for pattern in _PATTERNS)


def _napari_settings() -> Any:
    from napari.settings import get_settings

    return get_settings()


def _without(chosen: dict[str, str], patterns: Any) -> dict[str, str]:
    return {pattern: reader for pattern, reader in chosen.items() if pattern not in patterns}


def _store(settings: Any, readers: dict[str, str]) -> None:
    settings.plugins.extension2reader = readers
    settings.save()
