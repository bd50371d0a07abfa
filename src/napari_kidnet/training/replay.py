"""Replay: what was learned before is learned again beside the new, so that it is not forgotten (§2.5).

Beside the checkpoints lies a folder ``kidnet.replay``, with one folder for each grid and size of patches::

    PATCH-GRID/replay.json     what is in it, in the order in which it came
    PATCH-GRID/blocks/         presliced blocks, a ring: the oldest of the scan with most of them go first
    PATCH-GRID/locked/         scans, or parts, that are only ever measured on (the guard's)

At first use it is filled with phantoms, so that there is something to replay from the first day on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import OutputError
from napari_kidnet.progress import Progress
from napari_kidnet.scans import Scan
from napari_kidnet.scans.writing import write_atomically
from napari_kidnet.training.corrections import Correction, known_classes
from napari_kidnet.training.patches import PatchStore, Place

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Sequence

    from numpy.typing import NDArray

__all__ = ["Entry", "MixedStore", "ReplayStore", "cropped"]

FOLDER: Final = "kidnet.replay"

CAPACITY: Final = 64
"""Blocks; each is some 3 MB with patches of 64 voxels."""

BLOCKS_OF_SCAN: Final = 8
"""A block holds many patches: 96³ voxels for patches of 64³."""

LOCKED: Final = 8
"""Volumes to measure on; more would take longer than the fine-tuning."""

LOCKED_VOXELS: Final = 112
"""Their longest edge."""

PHANTOMS: Final = (
    *((0, "arterial", "typical"), (1, "venous", "wide"), (2, "excretory", "typical")),
    *((3, "arterial", "wide"), (500, "arterial", "typical"), (501, "venous", "typical")),
)
"""Seeds, phases, varieties; those from 500 on are measured on."""

FIRST_LOCKED_SEED: Final = 500

PHANTOM_SPACING: Final = (1.0, 0.8, 0.8)
"""mm, where the network works on each scan's own grid."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored block or volume.

    Attributes
    ----------
    name : str
        Of its file or folder.
    source : str
        Hash of the scan, or the phantom's name.
    role : str
        "training" or "validation".
    known : tuple of bool
        Which classes were reviewed in its scan.
    """

    name: str
    source: str
    role: str
    known: tuple[bool, ...] = (True,) * len(CLASSES)


class _Blocks(PatchStore):
    """A store whose cases are there already."""

    def take(self, entry: Entry) -> bool:
        return self._reuse(entry.name, [[entry.source]])


class ReplayStore:
    """Blocks to replay and volumes to measure on, on disk.

    Parameters
    ----------
    folder : Path or str
        Where checkpoints lie.
    patch_voxels : int
        Edge of the patches.
    spacing : tuple of float, optional
        The network's grid, (z, y, x) mm.
    """

    def __init__(
        self, folder: Path | str, patch_voxels: int, spacing: tuple[float, float, float] | None = None
    ) -> None:
        grid = "own" if spacing is None else "x".join(f"{each:g}" for each in spacing)
        self.folder = Path(folder) / FOLDER / f"{patch_voxels}-{grid}"
        self._patch = patch_voxels
        self._spacing = spacing
        self.entries: list[Entry] = []
        try:
            (self.folder / "blocks").mkdir(parents=True, exist_ok=True)
            (self.folder / "locked").mkdir(exist_ok=True)
            found = json.loads((self.folder / "replay.json").read_text(encoding="utf-8"))
            self.entries = [Entry(**(each | {"known": tuple(each["known"])})) for each in found["entries"]]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{self.folder / 'replay.json'} is damaged; delete {self.folder}, and it is made anew."
            ) from error
        except OSError as error:
            raise OutputError(
                f"Patches to replay cannot be kept in {self.folder} ({error.strerror or error}); "
                "write the new checkpoint elsewhere."
            ) from error

    def blocks(self, leaving: Container[str] = ()) -> tuple[PatchStore, list[Entry]]:
        """Return the blocks as a store, and their entries in its order; those of some sources left out."""
        store = _Blocks(self.folder / "blocks", self._patch, self._spacing)
        wanted = [each for each in self.entries if each.role == "training" and each.source not in leaving]
        return store, [each for each in wanted if store.take(each)]

    def locked(self) -> list[tuple[Entry, Correction]]:
        """Return the volumes to measure on."""
        found = []
        for entry in self.entries:
            path = self.folder / "locked" / f"{entry.name}.npz"
            if entry.role != "validation" or not path.is_file():
                continue
            with np.load(path, allow_pickle=False) as file:
                z, y, x = (float(each) for each in file["spacing"])
                scan = Scan.from_array(file["hu"], (z, y, x), entry.name)
                found.append(
                    (entry, Correction(entry.name, entry.source, scan, file["labels"], file["reviewed"]))
                )
        return found

    def has(self, source: str) -> bool:
        """Return whether something of a scan or phantom is stored."""
        return any(each.source == source for each in self.entries)

    def add_phantoms(self, locked_only: bool = False) -> Generator[Progress, None, None]:
        """Make the phantoms that are not there yet, one after another; or only those to measure on."""
        wanted = [each for each in PHANTOMS if each[0] >= FIRST_LOCKED_SEED or not locked_only]
        missing = [each for each in wanted if not self.has(_phantom_name(each))]
        for number, each in enumerate(missing):
            yield Progress(number, len(missing), f"Drawing phantom {number + 1} of {len(missing)} to replay")
            self._add_phantom(*each)

    def add(self, correction: Correction, role: str, rng: np.random.Generator) -> None:
        """Store blocks of a scan (its role "training"), or a part of it to measure on ("validation")."""
        if not correction.reviewed.any():
            return
        # a scan that was corrected further takes the place of what it was
        self.entries = [each for each in self.entries if each.source != correction.hash]
        known = tuple(bool(each) for each in known_classes(correction))
        if role == "validation":
            self._lock(Entry(f"scan-{correction.hash[:12]}", correction.hash, role, known), correction)
        else:
            store = PatchStore(self.folder / "making", self._patch, self._spacing)
            try:
                seen = None if correction.reviewed.all() else correction.reviewed
                scan = correction.scan
                store.add(correction.name, scan.hu, scan.spacing, correction.labels, seen)
                self._add_blocks(store, correction.hash, known, rng)
            finally:
                shutil.rmtree(self.folder / "making", ignore_errors=True)
        self._trim()
        self._save()

    def _add_blocks(
        self, store: PatchStore, source: str, known: tuple[bool, ...], rng: np.random.Generator
    ) -> None:
        edge, wide = self._patch, self._patch * 3 // 2
        kept = PatchStore(self.folder / "blocks", self._patch, self._spacing)
        for number in range(BLOCKS_OF_SCAN):
            place = store.draw(rng)
            z, y, x = (start - (wide - edge) // 2 for start in place.start)
            block = store.cut(place.case, (z, y, x), (wide, wide, wide))
            entry = Entry(f"scan-{source[:12]}-{number}", source, "training", known)
            kept.add(entry.name, block.hu, self._grid, block.labels, block.reviewed, [[source]])
            self.entries.append(entry)

    def _add_phantom(self, seed: int, phase: Any, variety: Any) -> None:
        from napari_kidnet.phantom import PhantomSettings, make_case

        case = make_case(seed, PhantomSettings(phase, "crop", self._grid, None, variety))
        entry = Entry(
            _phantom_name((seed, phase, variety)), _phantom_name((seed, phase, variety)), "training"
        )
        if seed >= FIRST_LOCKED_SEED:
            whole = np.ones(case.scan.shape, dtype=bool)
            self._lock(
                replace(entry, role="validation"),
                Correction(entry.name, entry.source, case.scan, case.truth, whole),
            )
        else:
            store = PatchStore(self.folder / "blocks", self._patch, self._spacing)
            store.add(entry.name, case.scan.hu, case.scan.spacing, case.truth, None, [[entry.source]])
            self.entries.append(entry)
        self._save()

    @property
    def _grid(self) -> tuple[float, float, float]:
        return self._spacing or PHANTOM_SPACING

    def _lock(self, entry: Entry, correction: Correction) -> None:
        part = cropped(correction)
        with (
            write_atomically(self.folder / "locked" / f"{entry.name}.npz") as partial,
            partial.open("wb") as file,
        ):
            np.savez_compressed(
                file,
                hu=np.round(part.scan.hu).astype(np.int16),
                labels=part.labels,
                reviewed=part.reviewed,
                spacing=np.array(part.scan.spacing),
            )
        self.entries.append(entry)

    def _trim(self) -> None:
        for role, most in (("training", CAPACITY), ("validation", LOCKED)):
            while sum(each.role == role for each in self.entries) > most:
                here = [each for each in self.entries if each.role == role]
                count = Counter(each.source for each in here)
                # the first among equals is the oldest one
                gone = max(here, key=lambda each: count[each.source])
                self.entries.remove(gone)

    def _save(self) -> None:
        content = {"entries": [asdict(each) for each in self.entries]}
        with write_atomically(self.folder / "replay.json") as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        # what the list no longer names may go now, not before
        names = {each.name for each in self.entries}
        for path in (self.folder / "blocks").iterdir():
            if path.name not in names and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)
        for path in (self.folder / "locked").glob("*.npz"):
            if path.stem not in names:
                os.unlink(path)


class MixedStore(PatchStore):
    """Corrected scans and replayed blocks together; it draws the latter for a fixed part of the patches.

    Parameters
    ----------
    corrected : PatchStore
        The scans to learn from.
    known : sequence of array of bool, (class,)
        Which classes were reviewed in each of them.
    edited : sequence of array of int, (n, 3)
        Voxels (z, y, x) of each, on the training grid, where the person disagreed.
    edited_share : float
        Part of the corrected scans' patches with such a centre.
    """

    def __init__(
        self,
        corrected: PatchStore,
        known: Sequence[NDArray[np.bool_]],
        edited: Sequence[NDArray[np.int16]],
        edited_share: float,
    ) -> None:
        super().__init__(corrected.folder, corrected.patch_voxels, corrected.spacing)
        self._corrected = corrected
        self._replayed: PatchStore | None = None
        self._share = 0.0
        self._known = list(known)
        self._edited = list(edited)
        self._edited_share = edited_share

    def replaying(self, blocks: PatchStore, entries: Sequence[Entry], share: float) -> MixedStore:
        """Return the same store with blocks to replay."""
        if len(blocks):
            self._replayed, self._share = blocks, share
            self._known += [np.array(each.known) for each in entries]
        return self

    def __len__(self) -> int:
        return len(self._corrected) + (len(self._replayed) if self._replayed else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The corrected scans' names."""
        return self._corrected.names

    def known_classes(self, case: int) -> NDArray[np.bool_] | None:
        """Return which classes were reviewed in a case, bool (class,)."""
        return self._known[case]

    def draw(self, rng: np.random.Generator, free_share: float | None = None) -> Place:
        """Draw a patch: replayed or not, edited or not, then as ever."""
        if self._replayed is not None and rng.random() < self._share:
            place = self._replayed.draw(rng, free_share)
            return replace(place, case=place.case + len(self._corrected))
        having = [number for number, points in enumerate(self._edited) if len(points)]
        if not having or rng.random() >= self._edited_share:
            return self._corrected.draw(rng, free_share)
        number = having[int(rng.integers(len(having)))]
        points = self._edited[number]
        z, y, x = (int(each) for each in points[int(rng.integers(len(points)))])
        block = self._corrected.cut(number, (z, y, x), (1, 1, 1))
        start = self._corrected.start_of(number, (z, y, x))
        return Place(number, CLASSES[int(block.labels[0, 0, 0])].name, (z, y, x), start)

    def cut(self, case: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> Any:
        """Copy a box (z, y, x) of a case, which may reach over the volume's border."""
        own = len(self._corrected)
        if case < own or self._replayed is None:
            return self._corrected.cut(case, start, size)
        return self._replayed.cut(case - own, start, size)


def cropped(correction: Correction, edge: int = LOCKED_VOXELS) -> Correction:
    """Return the part of a correction, at most ``edge`` voxels long, about its reviewed vessels."""
    points = np.argwhere(correction.reviewed & (correction.labels != 0))
    if not len(points):
        points = np.argwhere(correction.reviewed)
    middle = np.median(points, axis=0) if len(points) else np.array(correction.scan.shape) / 2
    box = []
    for at, size in zip(middle, correction.scan.shape, strict=True):
        start = int(min(max(at - edge // 2, 0), max(size - edge, 0)))
        box.append(slice(start, min(size, start + edge)))
    where = tuple(box)
    scan = Scan.from_array(
        np.ascontiguousarray(correction.scan.hu[where]), correction.scan.spacing, correction.name
    )
    return replace(
        correction,
        scan=scan,
        labels=np.ascontiguousarray(correction.labels[where]),
        reviewed=np.ascontiguousarray(correction.reviewed[where]),
        edited=None,
    )


def _phantom_name(phantom: tuple[int, str, str]) -> str:
    seed, phase, variety = phantom
    return f"phantom-{seed:04d}-{phase}-{variety}"
