"""Corrected scans: what a person has judged in them, what of it is worth learning from, and what is not.

Labels are partial: a voxel that nobody reviewed is not background, it is unknown. Where the network before
is nearly sure of a vessel there, nothing near it is taken for background either.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.classes import CLASSES, VESSELS
from napari_kidnet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.scans import Case, Scan
    from napari_kidnet.segmentation.prediction import Prediction

__all__ = [
    "Correction",
    "check_corrections",
    "check_exchanged",
    "disagreement",
    "known_classes",
    "read_correction",
    "scan_hash",
    "with_suspected",
    "without_specks",
]

SMALLEST_ISLAND: Final = 5
"""Voxels; a smaller one is a slip of the brush, and would multiply its patch's weight (§1.4)."""

SURE: Final = 0.9
"""Probability of a vessel above which an unreviewed voxel is not taken for background (§2.4)."""


EXCHANGED: Final = 0.9
"""Part of what is labelled artery that the network before calls vein, and the other way round: no network
errs so thoroughly in both, a person who took one colour for the other does."""

FEWEST_EXCHANGED: Final = 500
"""Voxels of each, or a few wrong islands would look like it."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """One corrected scan.

    Attributes
    ----------
    name : str
        The case's.
    hash : str
        SHA-256 of the scan's intensities: the same scan under another name is the same.
    scan : Scan
        The CT.
    labels : array of uint8, (z, y, x)
        Classes; of use only where they are reviewed.
    reviewed : array of bool, (z, y, x)
        Where a person has judged the label.
    edited : array of bool, (z, y, x), optional
        Where a person has changed it, if that is known.
    """

    name: str
    hash: str
    scan: Scan
    labels: NDArray[np.uint8]
    reviewed: NDArray[np.bool_]
    edited: NDArray[np.bool_] | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of scan, labels and reviewed voxels."""
        digest = hashlib.sha256(self.hash.encode())
        for array in (self.labels, np.packbits(self.reviewed)):
            digest.update(array.tobytes())
        return digest.hexdigest()


def scan_hash(scan: Scan) -> str:
    """Return the SHA-256 of a scan's shape and intensities, rounded to whole HU."""
    digest = hashlib.sha256(repr(scan.shape).encode())
    for plane in scan.hu:
        digest.update(np.round(plane).astype("<i2").tobytes())
    return digest.hexdigest()


def read_correction(case: Case) -> Correction:
    """Read a case's files.

    Raises
    ------
    LabelsError
        It has no labels, or a class that is none, or they are a prediction that nobody has reviewed.
    """
    from napari_kidnet.scans import read_labels, read_scan

    if case.labels is None:
        raise LabelsError(f"{case.ct.name} has no labels; put {case.name}_labels.nii.gz beside it.")
    case.check_reviewed()
    scan = read_scan(case.ct)
    labels = read_labels(case.labels, like=scan)
    if int(labels.max()) >= len(CLASSES):
        raise LabelsError(
            f"{case.labels.name} has class {int(labels.max())}; the classes are 0 to {len(CLASSES) - 1}."
        )
    reviewed = (
        np.ones(scan.shape, dtype=bool)
        if case.reviewed is None
        else read_labels(case.reviewed, like=scan) != 0
    )
    return Correction(case.name, scan_hash(scan), scan, labels.astype(np.uint8), reviewed)


def without_specks(correction: Correction) -> Correction:
    """Return the correction with islands of fewer than five voxels unreviewed."""
    from napari_kidnet.islands.components import label_islands

    islands = label_islands(correction.labels)
    small = np.bincount(islands.ids.ravel(), minlength=islands.n + 1) < SMALLEST_ISLAND
    small[0] = False
    if not small.any():
        return correction
    specks = small[islands.ids]
    return replace(
        correction,
        labels=np.where(specks, 0, correction.labels).astype(np.uint8),
        reviewed=correction.reviewed & ~specks,
    )


def check_corrections(before: Sequence[Correction], after: Sequence[Correction]) -> None:
    """Refuse corrections that teach nothing; ``after`` is without specks.

    Raises
    ------
    LabelsError
        A label is no class, nothing is reviewed, or nothing of it is a vessel.
    """
    for each in before:
        if (largest := int(each.labels.max(initial=0))) >= len(CLASSES):
            raise LabelsError(
                f"The labels of {each.name} have class {largest}; the classes are 0 to {len(CLASSES) - 1}."
            )
    names = ", ".join(each.name for each in before)
    if not any(each.reviewed.any() for each in before):
        raise LabelsError(
            f"Nothing in {names} is marked as reviewed, so there is nothing to learn from; "
            "edit or accept at least one island."
        )
    vessels = sum(int(np.count_nonzero(each.labels[each.reviewed])) for each in after)
    if vessels:
        return
    found = sum(int(np.count_nonzero(each.labels[each.reviewed])) for each in before)
    if found:
        raise LabelsError(
            f"All that is labelled in the reviewed part of {names} are specks of fewer than "
            f"{SMALLEST_ISLAND} voxels ({found} in all); label or accept a whole vessel."
        )
    raise LabelsError(
        f"The reviewed part of {names} holds no vessel, and from background alone a network learns to find "
        "none; label or accept at least one vessel."
    )


def check_exchanged(correction: Correction, prediction: NDArray[np.uint8]) -> None:
    """Refuse labels whose artery is the network's vein and whose vein is its artery; (z, y, x) both.

    Earlier scans do not show it, and where no corrected scan is held out the guard would not either.

    Raises
    ------
    LabelsError
        They are exchanged.
    """
    shares = []
    for one, other in ((1, 2), (2, 1)):
        said = prediction[correction.reviewed & (correction.labels == one)]
        said = said[(said == one) | (said == other)]
        if len(said) < FEWEST_EXCHANGED:
            return
        shares.append(float((said == other).mean()))
    if min(shares) > EXCHANGED:
        raise LabelsError(
            f"Artery and vein look exchanged in {correction.name}: of what is labelled artery the network "
            f"calls {shares[0]:.0%} vein, and of the vein {shares[1]:.0%} artery; relabel them, or check the "
            "scan's orientation."
        )


def known_classes(correction: Correction) -> NDArray[np.bool_]:
    """Return which classes are among the reviewed labels, bool (class,); background always is."""
    found: NDArray[np.bool_] = np.bincount(correction.labels[correction.reviewed], minlength=len(CLASSES)) > 0
    found[0] = True
    return found


def with_suspected(correction: Correction, prediction: Prediction) -> NDArray[np.uint8]:
    """Return labels, uint8 (z, y, x), whose unreviewed part holds only what is surely a vessel.

    It weighs nothing; but the bands keep their distance from it, and patches with it are not free of vessels.
    """
    labels = np.where(correction.reviewed, correction.labels, 0).astype(np.uint8)
    candidates = prediction.candidates
    if len(candidates.index):
        odds = np.exp(np.minimum(candidates.odds.astype(np.float64), 50.0))  # (vessel, voxel)
        total = odds.sum(axis=0)
        sure = total / (1.0 + total) > SURE
        sure &= ~correction.reviewed.ravel()[candidates.index]
        labels.ravel()[candidates.index[sure]] = candidates.odds[:, sure].argmax(axis=0) + VESSELS[0].id
    return labels


def disagreement(correction: Correction, prediction: Prediction) -> NDArray[np.bool_]:
    """Return where the person and the network before differ, bool (z, y, x)."""
    if correction.edited is not None:
        return correction.edited & correction.reviewed
    differing: NDArray[np.bool_] = correction.reviewed & (prediction.labels != correction.labels)
    return differing
