"""A case on disk: a CT and, beside it under the same name, what is known about it.

::

    NAME_ct.nii.gz         the scan
    NAME_labels.nii.gz     the classes of its voxels
    NAME_reviewed.nii.gz   1 where a person has judged the voxel; absent: all, but of a prediction none
    NAME_kidneys.nii.gz    1 left, 2 right
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_kidnet.errors import LabelsError, ScanError
from napari_kidnet.scans.labels import are_predicted

if TYPE_CHECKING:
    import os

__all__ = ["Case", "list_cases", "read_case"]

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes
    ----------
    name : str
        What the names of its files begin with.
    ct : Path
        The scan.
    labels, reviewed, kidneys : Path or None
        What lies beside it.
    all_reviewed : bool
        A person says that all of it was looked at, although the labels are marked as a prediction.
    """

    name: str
    ct: Path
    labels: Path | None = None
    reviewed: Path | None = None
    kidneys: Path | None = None
    all_reviewed: bool = False

    def check_reviewed(self) -> None:
        """Refuse labels that a network made and nobody has reviewed: they would count as all correct.

        Raises
        ------
        LabelsError
            They are such labels.
        """
        if self.labels is None or self.reviewed is not None or self.all_reviewed:
            return
        if are_predicted(self.labels):
            raise LabelsError(
                f"{self.labels.name} is a prediction, and no {self.name}_reviewed.nii.gz beside it says what "
                "of it was looked at; review it in the Islands widget (all in one go: page Review), or, "
                "on the command line, say that a person has looked at all of it (--reviewed all)."
            )


def list_cases(folder: str | os.PathLike[str]) -> list[Case]:
    """Return the cases in a folder, by name; none is an empty list.

    Raises
    ------
    ScanError
        There is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ScanError(f"{root} is not a folder; give the folder that holds NAME_ct.nii.gz files.")
    names = {
        path.name.removesuffix("_ct" + suffix)
        for suffix in SUFFIXES
        for path in root.glob(f"*_ct{suffix}")
        if not path.name.startswith(".")
    }
    return [_case(root, name) for name in sorted(names)]


def read_case(path: str | os.PathLike[str]) -> Case:
    """Return one case: by its prefix ``FOLDER/NAME``, its CT file, or a folder that holds just one.

    Raises
    ------
    ScanError
        There is no such case, or the folder holds several.
    """
    given = Path(path)
    if given.is_dir():
        cases = list_cases(given)
        if len(cases) == 1:
            return cases[0]
        found = ", ".join(case.name for case in cases) or "none"
        raise ScanError(f"{given} should hold one case and holds {found}; name one as FOLDER/NAME.")
    name = given.name
    for suffix in SUFFIXES:
        name = name.removesuffix("_ct" + suffix)
    case = _case(given.parent, name)
    if not case.ct.is_file():
        raise ScanError(f"{case.ct} does not exist; a case is a NAME_ct.nii.gz with its labels beside it.")
    return case


def _case(folder: Path, name: str) -> Case:
    ct = _beside(folder, name, "ct") or folder / f"{name}_ct.nii.gz"
    labels, reviewed, kidneys = (_beside(folder, name, kind) for kind in ("labels", "reviewed", "kidneys"))
    return Case(name, ct, labels, reviewed, kidneys)


def _beside(folder: Path, name: str, kind: str) -> Path | None:
    for suffix in SUFFIXES:
        path = folder / f"{name}_{kind}{suffix}"
        if path.is_file():
            return path
    return None
