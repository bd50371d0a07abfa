"""The presliced patch store (paper §2): volumes ready to be cut, and where the four kinds of patches lie.

A store is a folder with one folder per case::

    NAME/hu.npy         int16 (z, y, x), on the training grid
    NAME/labels.npy     uint8, classes 0…3
    NAME/tubes.npy      uint8, class within two voxels of its own centreline, else 0 (Skeleton Recall)
    NAME/reviewed.npy   bool, only where part of the case is unreviewed
    NAME/centres.npz    int16 (n, 3) of the kinds: free, background, artery, vein, collecting_system
    NAME/case.json      spacing, shape, and what it was made from

The arrays are memory-mapped and a patch is a few megabytes of them, cut with as much around it as turning
and scaling need, so that augmentation sees no padding inside of a scan, and every centre is at hand at the
price of one copy of the volume.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.classes import CLASSES, VESSELS
from napari_kidnet.errors import LabelsError, OutputError, SettingsError
from napari_kidnet.training.centres import (
    FREE,
    background_centres,
    class_skeletons,
    free_of_vessels,
    vessel_centres,
)
from napari_kidnet.training.resampling import labels_on_grid, scan_on_grid
from napari_kidnet.training.sampling import capped_squared_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.scans import Case

__all__ = ["AIR_HU", "KINDS", "Block", "PatchStore", "Place"]

KINDS: Final = tuple(each.name for each in CLASSES)
"""The four kinds of patches, by what lies in their centre."""

AIR_HU: Final = -1024
"""Beyond the volume's end there is air: −1 after normalisation (reading A12)."""

TUBE_RADIUS: Final = 2
STORE_VERSION: Final = 1

OPEN_CASES: Final = 64
"""Cases whose files are held open: each takes three or four of the 1024 files that a process may have."""

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a patch is cut.

    Attributes
    ----------
    case : int
        Its number in the store.
    kind : str
        One of `KINDS`.
    centre : tuple of int
        The drawn voxel (z, y, x) of the case.
    start : tuple of int
        The patch's first voxel, moved inside of the volume where it would reach over the border.
    """

    case: int
    kind: str
    centre: Triple
    start: Triple


@dataclass(frozen=True, slots=True)
class Block:
    """What was cut, each (z, y, x).

    Attributes
    ----------
    hu : array of int16
        Air beyond the volume.
    labels, tubes : array of uint8
        Zero beyond the volume.
    reviewed : array of bool, optional
        False beyond the volume; None where everything is inside and reviewed.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    tubes: NDArray[np.uint8]
    reviewed: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    shape: Triple
    centres: dict[str, NDArray[np.int16]]


class PatchStore:
    """Cases on disk, ready to be cut into patches.

    Parameters
    ----------
    folder : Path
        Where the store is, or will be.
    patch_voxels : int
        Edge of the patches; which centres give patches free of vessels depends on it.
    spacing : tuple of float, optional
        Every case is brought to this grid, (z, y, x) mm; None keeps each one's own, as in the paper.
    """

    def __init__(
        self, folder: Path | str, patch_voxels: int, spacing: tuple[float, float, float] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.patch_voxels = patch_voxels
        self.spacing = spacing
        self._cases: list[_Stored] = []
        self._open: OrderedDict[int, dict[str, NDArray[Any]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def names(self) -> tuple[str, ...]:
        """The cases' names, in their order."""
        return tuple(each.name for each in self._cases)

    def add_files(self, case: Case) -> None:
        """Read a case's files and add it; what an earlier run has stored from the same files is used again.

        Raises
        ------
        LabelsError
            The case has no labels.
        """
        from napari_kidnet.scans import read_labels, read_scan

        if case.labels is None:
            raise LabelsError(f"{case.ct.name} has no labels; put {case.name}_labels.nii.gz beside it.")
        files = [path for path in (case.ct, case.labels, case.reviewed) if path is not None]
        origin = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        if self._reuse(case.name, origin):
            return
        scan = read_scan(case.ct)
        labels = read_labels(case.labels, like=scan)
        if int(labels.max()) >= len(CLASSES):
            raise LabelsError(
                f"{case.labels.name} has class {int(labels.max())}; the classes are 0 to {len(CLASSES) - 1}."
            )
        reviewed = None if case.reviewed is None else read_labels(case.reviewed, like=scan) != 0
        self.add(case.name, scan.hu, scan.spacing, labels.astype(np.uint8), reviewed, origin)

    def add(
        self,
        name: str,
        hu: NDArray[Any],
        spacing: tuple[float, float, float],
        labels: NDArray[np.uint8],
        reviewed: NDArray[np.bool_] | None = None,
        origin: list[list[Any]] | None = None,
    ) -> None:
        """Add a case from arrays (z, y, x); ``origin`` says what it was made from, for a later run."""
        if hu.shape != labels.shape or (reviewed is not None and reviewed.shape != hu.shape):
            raise LabelsError(
                f"The labels of {name} are {labels.shape}, its scan is {hu.shape}; give the same grid."
            )
        if any(each.name == name for each in self._cases):
            raise SettingsError(f"Two cases are called {name}; give each case a name of its own.")
        wanted = self.spacing
        values = scan_on_grid(hu, spacing, wanted)
        classes = labels_on_grid(labels, spacing, wanted)
        seen = None if reviewed is None or reviewed.all() else scan_on_grid(reviewed, spacing, wanted) > 127
        skeletons = class_skeletons(classes)
        rng = np.random.default_rng(len(name))
        background = background_centres(values, classes, seen, rng)
        free = free_of_vessels(background, classes, self.patch_voxels)
        centres = {FREE: background[free], KINDS[0]: background[~free]}
        tubes = np.zeros_like(classes)
        for vessel in VESSELS:
            skeleton = skeletons[vessel.id]
            centres[vessel.name] = vessel_centres(skeleton, seen, rng)
            near = capped_squared_distance(skeleton, TUBE_RADIUS) <= TUBE_RADIUS**2
            tubes[near & (classes == vessel.id)] = vessel.id
        arrays: dict[str, NDArray[Any]] = {"hu": values, "labels": classes, "tubes": tubes}
        if seen is not None:
            arrays["reviewed"] = seen
        self._write(name, arrays, centres, origin)
        if not self._reuse(name, origin):
            raise OutputError(
                f"The patches of {name} in {self.folder} were changed by another program; start again."
            )

    def check(self, strict: bool = False) -> None:
        """Make sure that patches without vessels can be drawn; without them a whole scan fails (R26).

        Raises
        ------
        SettingsError
            There are no cases, or ``strict`` and no place for such a patch.
        """
        if not self._cases:
            raise SettingsError(
                "There are no cases to train on; give folders with NAME_ct and NAME_labels files."
            )
        if any(len(each.centres[FREE]) for each in self._cases):
            return
        text = (
            f"No patch of {self.patch_voxels}³ voxels in these cases is free of vessels, and a network that "
            "has never seen one finds vessels everywhere; add larger scans or use smaller patches."
        )
        if strict:
            raise SettingsError(text)
        warnings.warn(text, stacklevel=2)

    def draw(self, rng: np.random.Generator, free_share: float | None = None) -> Place:
        """Draw a patch: its kind (a quarter each), then a case that has it, then a centre (R25).

        Parameters
        ----------
        rng : numpy.random.Generator
            The source of chance.
        free_share : float, optional
            Part of the background patches that are free of vessels, where there are such places; by default
            all background points have the same chance, as in the paper.
        """
        kinds = [kind for kind in KINDS if any(self._points(case, kind) for case in self._cases)]
        kind = kinds[int(rng.integers(len(kinds)))]
        having = [number for number, case in enumerate(self._cases) if self._points(case, kind)]
        number = having[int(rng.integers(len(having)))]
        case = self._cases[number]
        if kind != KINDS[0]:
            points = case.centres[kind]
            point = points[int(rng.integers(len(points)))]
        else:
            point = self._draw_background(number, rng, free_share)
        centre = (int(point[0]), int(point[1]), int(point[2]))
        return Place(number, kind, centre, self.start_of(number, centre))

    def shape_of(self, case: int) -> Triple:
        """Return a case's size on the training grid, (z, y, x)."""
        return self._cases[case].shape

    def start_of(self, case: int, centre: Triple) -> Triple:
        """Return the first voxel (z, y, x) of the patch about a centre, moved inside of the volume."""
        z, y, x = (
            _start(at, self.patch_voxels, size) for at, size in zip(centre, self.shape_of(case), strict=True)
        )
        return z, y, x

    def known_classes(self, case: int) -> NDArray[np.bool_] | None:
        """Return which classes were reviewed in a case, bool (class,); None, as here, for all."""
        del case
        return None

    def cut(self, case: int, start: Triple, size: Triple) -> Block:
        """Copy a box (z, y, x) of a case, which may reach over the volume's border."""
        stored, arrays = self._cases[case], self._arrays(case)
        inside, target = [], []
        for first, length, limit in zip(start, size, stored.shape, strict=True):
            low, high = min(max(first, 0), limit), max(min(first + length, limit), 0)
            inside.append(slice(low, max(low, high)))
            target.append(slice(low - first, max(low, high) - first))
        whole = all(part.stop - part.start == length for part, length in zip(inside, size, strict=True))
        where, there = tuple(inside), tuple(target)
        parts: dict[str, NDArray[Any]] = {}
        for name, beyond in (("hu", AIR_HU), ("labels", 0), ("tubes", 0)):
            source = arrays[name]
            parts[name] = np.array(source[where]) if whole else np.full(size, beyond, source.dtype)
            if not whole:
                parts[name][there] = source[where]
        reviewed: NDArray[np.bool_] | None = None
        if not whole or "reviewed" in arrays:
            reviewed = np.zeros(size, dtype=bool)
            reviewed[there] = arrays["reviewed"][where] if "reviewed" in arrays else True
        return Block(parts["hu"], parts["labels"], parts["tubes"], reviewed)

    def _draw_background(
        self, number: int, rng: np.random.Generator, free_share: float | None
    ) -> NDArray[np.int16]:
        free, other = (self._cases[number].centres[kind] for kind in (FREE, KINDS[0]))
        if free_share is None or not (len(free) and len(other)):
            points = np.concatenate([free, other])
        else:
            points = free if rng.random() < free_share else other
        chosen: NDArray[np.int16] = points[int(rng.integers(len(points)))]
        return chosen

    @staticmethod
    def _points(case: _Stored, kind: str) -> int:
        return len(case.centres[kind]) + (len(case.centres[FREE]) if kind == KINDS[0] else 0)

    def _write(
        self,
        name: str,
        arrays: dict[str, NDArray[Any]],
        centres: dict[str, NDArray[np.int16]],
        origin: list[list[Any]] | None,
    ) -> None:
        final, partial = self.folder / name, self.folder / f".{name}.{os.getpid()}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for key, array in arrays.items():
                np.save(partial / f"{key}.npy", array, allow_pickle=False)
            np.savez(partial / "centres.npz", allow_pickle=False, **centres)
            (partial / "case.json").write_text(json.dumps(self._description(origin)), encoding="utf-8")
            shutil.rmtree(final, ignore_errors=True)
            os.replace(partial, final)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise OutputError(
                f"Patches cannot be stored in {self.folder} ({error.strerror or error}); "
                "free space or write elsewhere."
            ) from error

    def _description(self, origin: list[list[Any]] | None) -> dict[str, Any]:
        spacing = None if self.spacing is None else list(self.spacing)
        return {"version": STORE_VERSION, "patch": self.patch_voxels, "spacing": spacing, "origin": origin}

    def _reuse(self, name: str, origin: list[list[Any]] | None) -> bool:
        folder = self.folder / name
        try:
            if json.loads((folder / "case.json").read_text(encoding="utf-8")) != self._description(origin):
                return False
            with np.load(folder / "centres.npz", allow_pickle=False) as file:
                centres = {kind: file[kind] for kind in (FREE, *KINDS)}
            z, y, x = _mapped(folder)["hu"].shape
        except (OSError, ValueError, KeyError):
            return False
        self._cases.append(_Stored(name, (z, y, x), centres))
        return True

    def _arrays(self, case: int) -> dict[str, NDArray[Any]]:
        if case in self._open:
            self._open.move_to_end(case)
            return self._open[case]
        while len(self._open) >= OPEN_CASES:
            self._open.popitem(last=False)
        arrays = _mapped(self.folder / self._cases[case].name)
        self._open[case] = arrays
        return arrays


def _mapped(folder: Path) -> dict[str, NDArray[Any]]:
    return {
        path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))
    }


def _start(centre: int, length: int, limit: int) -> int:
    if limit <= length:
        return (limit - length) // 2
    return min(max(centre - length // 2, 0), limit - length)
