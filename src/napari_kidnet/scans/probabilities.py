"""The classes' probabilities of a prediction as a file, and how its labels were decided from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.errors import LabelsError, OutputError, ScanError
from napari_kidnet.scans.labels import order_on
from napari_kidnet.scans.nifti import DESCRIPTION, description_of, is_nifti, read_nifti, write_nifti
from napari_kidnet.scans.scan import name_of

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.scans.scan import Scan

__all__ = ["KeptProbabilities", "probabilities_beside", "read_probabilities", "write_probabilities"]

SMALLEST: Final = 1e-7
"""Less is not told apart from nothing: about what the network says of air."""

_LONGEST: Final = 79
"""Characters that the header's description has room for."""

_DECIDED: Final = re.compile(rf"{DESCRIPTION} sensitivity (\S+) weights (.+)")


@dataclass(frozen=True, slots=True, eq=False)
class KeptProbabilities:
    """What a file of probabilities holds.

    Attributes
    ----------
    log : array of float16, (class, z, y, x)
        Natural logarithms.
    weights : tuple of float, (class,), or None
        The class weights of training, where the file says them.
    sensitivity : float or None
        How the labels were decided, where the file says it.
    """

    log: NDArray[np.float16]
    weights: tuple[float, ...] | None = None
    sensitivity: float | None = None


def write_probabilities(
    path: str | os.PathLike[str],
    probabilities: NDArray[Any],
    like: Scan,
    decided: tuple[Sequence[float], float] | None = None,
) -> None:
    """Write probabilities as float32 NIfTI with a fourth axis for the class, on the scan's own grid.

    Parameters
    ----------
    path : path-like
        ``.nii.gz`` or ``.nii``.
    probabilities : array of float
        (class, z, y, x), 0…1.
    like : Scan
        The scan they belong to.
    decided : (class weights, sensitivity), optional
        How labels were decided from them, which the header then says: without it nobody can tell
        afterwards how unsure the network was.

    Raises
    ------
    LabelsError
        They are not the scan's.
    OutputError
        They cannot be written there.
    """
    target = Path(path)
    if probabilities.ndim != 4 or probabilities.shape[1:] != like.shape:
        raise LabelsError(
            f"{target} was not written: the probabilities have the shape {_size(probabilities.shape)} "
            f"(class, z, y, x), and {like.name} has {_size(like.shape)} voxels."
        )
    if not is_nifti(target):
        raise OutputError(f"{target} was not written: probabilities are written as .nii.gz or .nii.")
    stored = like.stored.order.to_stored(np.moveaxis(probabilities, 0, -1))  # (i, j, k, class)
    write_nifti(target, stored, like.stored, np.float32, _in_words(decided))


def read_probabilities(path: str | os.PathLike[str], like: Scan) -> KeptProbabilities:
    """Read what `write_probabilities` has written, turned to the scan's axes.

    Raises
    ------
    LabelsError
        It cannot be read, holds no probabilities, or lies on another grid.
    """
    source = Path(path)
    try:
        volume = read_nifti(source, classes=True)
    except ScanError as error:
        raise LabelsError(str(error)) from error
    values = volume.values  # (i, j, k, class)
    order = order_on(like, volume.affine, values.shape[:3], source)
    log = np.empty((values.shape[3], *like.shape), np.float16)
    for each in range(len(log)):  # class by class: all at once would be a second copy in float32
        one = order.from_stored(values[..., each])
        low, high = float(one.min()), float(one.max())
        if not (low >= 0 and high <= 1 + 1e-3):  # NaN compares false
            raise LabelsError(
                f"{source} holds values from {low:.4g} to {high:.4g}, and probabilities are 0 to 1: "
                "give what kidnet segment --probabilities writes."
            )
        log[each] = np.log(np.maximum(one, SMALLEST, dtype=np.float32))
    weights, sensitivity = _decided(description_of(source), len(log))
    return KeptProbabilities(log, weights, sensitivity)


def probabilities_beside(labels: Path) -> Path | None:
    """Return the file of probabilities that ``kidnet segment`` puts beside labels, or None.

    Parameters
    ----------
    labels : Path
        ``NAME_labels.nii.gz``, whose probabilities are ``NAME_probabilities.nii.gz``.
    """
    stem = name_of(labels)
    if not stem.endswith("_labels"):
        return None
    for suffix in (".nii.gz", ".nii"):
        found = labels.with_name(stem.removesuffix("labels") + "probabilities" + suffix)
        if found.is_file():
            return found
    return None


def _in_words(decided: tuple[Sequence[float], float] | None) -> str:
    if decided is None:
        return DESCRIPTION
    weights, sensitivity = decided
    said = " ".join(f"{float(each):.5g}" for each in weights)
    words = f"{DESCRIPTION} sensitivity {sensitivity:.4g} weights {said}"
    return words if len(words) <= _LONGEST else DESCRIPTION


def _decided(description: str, classes: int) -> tuple[tuple[float, ...] | None, float | None]:
    found = _DECIDED.fullmatch(description)
    if found is None:
        return None, None
    try:
        sensitivity, weights = float(found[1]), tuple(float(each) for each in found[2].split())
    except ValueError:
        return None, None
    fits = len(weights) == classes and min(weights) > 0 and 0 <= sensitivity <= 1
    return (weights, sensitivity) if fits else (None, None)


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape)
