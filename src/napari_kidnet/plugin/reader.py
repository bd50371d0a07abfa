"""What napari asks when a file is opened: NIfTI, TIFF stack, or a folder with a DICOM series.

The reader only reads, in a worker: napari waits for the layers, but its window goes on living. A
scan that is to segment itself carries a mark, which the viewer's controller acts on once the image
is on the screen (`controller.Controller`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from napari_kidnet.errors import KidnetError, ScanError
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.plugin import warming
from napari_kidnet.plugin.jobs import run_aside
from napari_kidnet.plugin.layers import TOKEN, ScanTag, class_look, placement, scan_keywords
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.plugin.telling import tell
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_kidnet.scans import Scan

__all__ = ["get_reader"]

LayerData: TypeAlias = tuple[Any, ...]
Reader: TypeAlias = Callable[[Any], list[LayerData]]

_NOTHING: Final[list[LayerData]] = [(None,)]
"""What tells napari: read, and there is no layer."""

_LABEL_WORDS: Final = ("label", "seg", "mask", "reviewed", "annotation", "truth", "kidneys")
_LOOKED_AT: Final = 32
"""Files of a folder that are looked at before it is said to hold no DICOM."""


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the function that reads a path, or None for what is not ours."""
    if not isinstance(path, (str, Path)):
        return None  # a list is a request to stack files, which a scan is not made of
    file = Path(path)
    name = file.name.lower()
    if file.is_dir():
        return _read if _holds_dicom(file) or not any(file.iterdir()) else None  # empty: there is a sentence
    if name.endswith((".nii", ".nii.gz", ".dcm")):
        return _read
    if name.endswith((".tif", ".tiff")):
        return _read if _is_volume(file) else None
    return None


def _read(path: str) -> list[LayerData]:
    """Read one path; an error of ours is a notification, for `napari FILE` would exit with a traceback."""
    from napari.viewer import current_viewer

    viewer = current_viewer()
    if viewer is not None:
        from napari_kidnet.plugin.controller import Controller

        Controller.of(viewer)
    file = Path(path)
    try:
        return [run_aside(_reading_steps(file, in_window=viewer is not None), f"Reading {file.name}")]
    except KidnetError as error:
        tell(error)
        return list(_NOTHING)


def _reading_steps(file: Path, *, in_window: bool) -> Generator[Report, None, LayerData]:
    """Read a scan or labels, and import what napari needs to show them."""
    yield Report(Progress(0, 0, f"Reading {file.name}"))
    if in_window:
        warming.import_for_layers()
    if _is_nifti(file) and _says_labels(file):
        return _read_labels(file)
    try:
        return _read_scan(file, in_window=in_window)
    except ScanError:
        if _is_nifti(file) and _holds_few_whole_numbers(file):
            return _read_labels(file)
        raise


def _read_scan(path: Path, *, in_window: bool) -> LayerData:
    from napari_kidnet.scans import read_scan

    chosen = preferences()
    wanted = chosen.auto_segment != "never"
    if in_window and wanted:
        warming.warm_up(chosen.checkpoint)
    scan = read_scan(path)
    if path.suffix.lower() == ".dcm":  # one file stands for its series, among several in the folder
        scan = replace(scan, name=path.absolute().parent.name, path=path.parent)
    return (scan.hu, scan_keywords(scan, segment_on_arrival=wanted), "image")


def _read_labels(path: Path) -> LayerData:
    from napari_kidnet.scans import read_labels

    labels = read_labels(path)
    grid = _grid_of(path)
    ours = path.name.lower().endswith(("_labels.nii.gz", "_labels.nii")) and labels.max(initial=0) <= 3
    keywords = {
        "name": grid.name,
        "opacity": 0.6,
        "metadata": {TOKEN: ScanTag(grid)},
        **placement(grid.spacing, grid.affine),
        **(class_look() if ours else {}),
    }
    return (labels, keywords, "labels")


def _grid_of(path: Path) -> Scan:
    """Return the grid of a NIfTI file as a scan of zeros that take no memory: for saving on it."""
    import nibabel as nib
    import numpy as np

    from napari_kidnet.scans import Scan, StoredGrid
    from napari_kidnet.scans.orientation import nearest_axes, spacing_of
    from napari_kidnet.scans.scan import name_of

    image: Any = nib.load(path)
    i, j, k = image.shape[:3]
    order = nearest_axes(image.affine)
    affine = order.affine_of(image.affine, (i, j, k))
    stored = StoredGrid((i, j, k), image.affine, order, "nifti", image.header.binaryblock)
    zeros = np.broadcast_to(np.int16(0), order.from_stored(np.empty((i, j, k), np.bool_)).shape)
    return Scan(zeros, spacing_of(affine), affine, name_of(path), path, stored)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _says_labels(path: Path) -> bool:
    """Whether a NIfTI file is called labels, and is stored as integers."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    if not any(word in path.name.lower() for word in _LABEL_WORDS):
        return False
    try:
        header: Any = nib.load(path).header
    except (OSError, ValueError, EOFError, ImageFileError):
        return False  # `read_scan` has the sentence for it
    return bool(header.get_data_dtype().kind in "iu")


def _holds_few_whole_numbers(path: Path) -> bool:
    """Whether what is no CT is labels instead: 0 and whole numbers up to 127, as masks of others are."""
    import nibabel as nib
    import numpy as np
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except (OSError, ValueError, EOFError, ImageFileError):
        return False
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    return bool(values.ndim == 3 and low == 0 and 1 <= high <= 127 and (values == np.rint(values)).all())


def _holds_dicom(folder: Path) -> bool:
    files = (each for each in sorted(folder.iterdir()) if each.is_file())
    for _, each in zip(range(_LOOKED_AT), files, strict=False):
        try:
            with each.open("rb") as stream:
                if stream.read(132)[128:] == b"DICM":
                    return True
        except OSError:
            continue
    return False


def _is_volume(path: Path) -> bool:
    """Whether a TIFF holds one grey volume; pictures and time series are left to other readers."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            return bool(series.ndim == 3 and series.shape[-1] > 4 and series.dtype.kind in "iuf")
    except (OSError, ValueError, IndexError, tifffile.TiffFileError):
        return path.is_file() and path.stat().st_size == 0
