"""Where results go: names, and everything that can be refused before the work begins."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

from napari_kidnet.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = [
    "case_name",
    "check_folder",
    "is_volume_name",
    "make_folder",
    "need_space",
    "refuse_existing",
    "refuse_inputs",
    "writable_folder",
]

_VOLUME_SUFFIXES = (".nii.gz", ".nii", ".tif", ".tiff")


def case_name(scan: Path) -> str:
    """Return the name of the case that a scan belongs to: ``NAME`` of ``NAME_ct.nii.gz``, or the scan's own.

    Examples
    --------
    >>> from pathlib import Path
    >>> case_name(Path("cases/p01_ct.nii.gz")), case_name(Path("cases/dicom_ct/"))
    ('p01', 'dicom_ct')
    """
    from napari_kidnet.scans.scan import name_of

    name = name_of(scan)
    return name if name == scan.name else name.removesuffix("_ct") or name


def is_volume_name(path: Path) -> bool:
    """Return whether a path is named like a label file that we write, and not like a folder."""
    return path.name.lower().endswith(_VOLUME_SUFFIXES)


def writable_folder(folder: Path, option: str) -> None:
    """Refuse a folder that is not there or not writable.

    A file is really made: permission bits say nothing to a superuser or on a file system that was
    mounted read-only.
    """
    if not folder.exists():
        raise OutputError(f"{option}: the folder {folder} does not exist; make it first.")
    if not folder.is_dir():
        raise OutputError(f"{option}: {folder} is a file where a folder is needed; give another path.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{option}: nothing can be written to the folder {folder} ({why}).") from error


def check_folder(folder: Path, option: str) -> None:
    """Refuse a folder for results that is not writable, or that could not be made when there is one."""
    writable_folder(folder if folder.exists() else folder.parent, option)


def make_folder(folder: Path) -> None:
    """Make a folder for results, which `check_folder` has looked at."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made ({error.strerror or error}).") from error


def refuse_existing(files: Iterable[Path], overwrite: bool) -> None:
    """Refuse to replace files: they may hold hours of somebody's corrections."""
    if overwrite:
        return
    for file in files:
        if file.exists():
            raise OutputError(
                f"{file} is there already and may hold corrections: give another name, or --overwrite."
            )


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read, ``--overwrite`` or not."""
    read = {path.resolve() for path in inputs}
    for output in outputs:
        if output.resolve() in read:
            raise OutputError(f"{output} is an input and would be written over: give another name.")


def need_space(folder: Path, megabytes: float) -> None:
    """Refuse work whose result would not fit on the disk."""
    free = shutil.disk_usage(folder if folder.exists() else folder.parent).free / 1e6
    if free < megabytes:
        raise OutputError(
            f"the disk of {folder} has {free:.0f} MB left and the result needs up to {megabytes:.0f} MB: "
            "make room, or write elsewhere."
        )
