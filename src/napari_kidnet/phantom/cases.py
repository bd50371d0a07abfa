"""Phantom cases: geometry, tissue, physics and annotation together, and written as cases."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.anatomy_map import LabelMap, deformed_anatomy
from napari_kidnet.phantom.annotation import human_annotation
from napari_kidnet.phantom.physics import PhysicsSettings, acquire, draw_physics, draw_spacing
from napari_kidnet.phantom.structures import Anatomy, kidneys_of, truth_of
from napari_kidnet.phantom.tissue import PHASES, Phase, TissueSettings, paint
from napari_kidnet.progress import Progress
from napari_kidnet.scans import Scan, write_labels, write_scan

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

__all__ = ["PhantomCase", "PhantomSettings", "make_case", "make_renderings", "phantom_steps", "write_case"]

_THICKEST_MM = 1.5
"""Anatomy is drawn on slices no thicker than this; thicker slices of a scan are averages of several."""


@dataclass(frozen=True, slots=True)
class PhantomSettings:
    """What a phantom is to be.

    Attributes
    ----------
    phase : str
        One of ``PHASES``: unenhanced, arterial, venous, excretory.
    field : "crop" or "full"
        About 110 mm around one kidney, or the whole width of the abdomen.
    spacing : tuple of float or None
        Voxel size (z, y, x) in mm; None draws it from the paper's spread.
    label_map : LabelMap or None
        A real person's label map to deform; None draws an anatomy of its own.
    variety : "typical" or "wide"
        As the literature has it, or far beyond, for training.
    physics : PhysicsSettings or None
        The scanner's image quality; None draws it. How many slices are averaged follows from the spacing.
    """

    phase: Phase = "arterial"
    field: Literal["crop", "full"] = "crop"
    spacing: tuple[float, float, float] | None = None
    label_map: LabelMap | None = None
    variety: Literal["typical", "wide"] = "typical"
    physics: PhysicsSettings | None = None

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise SettingsError(f"The phase is {self.phase!r}; it must be one of {', '.join(PHASES)}.")
        if self.field not in ("crop", "full"):
            raise SettingsError(f'The field is {self.field!r}; it must be "crop" or "full".')
        if self.variety not in ("typical", "wide"):
            raise SettingsError(f'The variety is {self.variety!r}; it must be "typical" or "wide".')
        if self.spacing is not None and not all(0.3 <= step <= 10 for step in self.spacing):
            raise SettingsError(f"The spacing is {self.spacing} mm; each value must lie between 0.3 and 10.")


@dataclass(frozen=True, slots=True)
class PhantomCase:
    """A scan whose truth is known.

    Attributes
    ----------
    scan : Scan
        The CT, int16.
    truth : uint8 array (z, y, x)
        Every vessel: 0 background, 1 artery, 2 vein, 3 collecting system.
    annotation : uint8 array (z, y, x)
        What a person would have labelled: some 12 islands near the kidneys.
    kidneys : uint8 array (z, y, x)
        1 left, 2 right.
    record : dict
        How it was made, for ``NAME.json``.
    """

    scan: Scan
    truth: NDArray[np.uint8]
    annotation: NDArray[np.uint8]
    kidneys: NDArray[np.uint8]
    record: dict[str, Any]


def make_case(seed: int, settings: PhantomSettings | None = None) -> PhantomCase:
    """Make one phantom case; the same seed and settings make the same case.

    Parameters
    ----------
    seed : int
        Training takes 0–499, validation 500–999, tests 1000 and up.
    settings : PhantomSettings, optional
        What the phantom is to be.
    """
    settings = settings or PhantomSettings()
    return make_renderings(seed, settings, [settings.phase])[0]


def make_renderings(seed: int, settings: PhantomSettings, phases: Sequence[Phase]) -> list[PhantomCase]:
    """Make one geometry and render it once for every phase, each with tissue and image quality of its own.

    Parameters
    ----------
    seed : int
        Seed of geometry and renderings.
    settings : PhantomSettings
        What the phantoms are to be; their phase is taken from ``phases``.
    phases : sequence of str
        Phases, of which one may come several times.
    """
    rng = np.random.default_rng([seed, 0])
    spacing = settings.spacing or draw_spacing(rng, settings.variety)
    thick = max(1, int(np.ceil(spacing[0] / _THICKEST_MM)))
    anatomy = _anatomy(rng, settings, (spacing[0] / thick, spacing[1], spacing[2]))
    truth, kidneys = truth_of(anatomy), kidneys_of(anatomy)
    if thick > 1:
        truth, kidneys = _middle_slices(truth, thick), _middle_slices(kidneys, thick)
    annotation = human_annotation(truth, kidneys, spacing, np.random.default_rng([seed, 1]))
    cases = []
    for number, phase in enumerate(phases):
        own = np.random.default_rng([seed, 2, number, PHASES.index(phase)])
        if settings.physics is None:
            quality = draw_physics(own, settings.variety, thick)
        else:
            quality = replace(settings.physics, thick=thick)
        painted = paint(anatomy, phase, own, TissueSettings(settings.variety))
        hu = acquire(painted, anatomy.spacing, own, quality)
        del painted
        name = f"phantom-{seed:04d}-{phase}" + (f"-{number}" if phases.count(phase) > 1 else "")
        record = {
            "seed": seed,
            "phase": phase,
            "field": settings.field,
            "variety": settings.variety,
            "anatomy": anatomy.source,
            "spacing": list(spacing),
            "physics": asdict(quality),
        }
        scan = Scan.from_array(np.rint(hu).astype(np.int16), spacing, name)
        cases.append(PhantomCase(scan, truth, annotation, kidneys, record))
    return cases


def _anatomy(
    rng: np.random.Generator, settings: PhantomSettings, spacing: tuple[float, float, float]
) -> Anatomy:
    if settings.label_map is not None:
        return deformed_anatomy(settings.label_map, rng, settings.field, spacing)
    from napari_kidnet.phantom.geometry import procedural_anatomy

    return procedural_anatomy(rng, settings.field, spacing)


def _middle_slices(labels: NDArray[np.uint8], thick: int) -> NDArray[np.uint8]:
    """Return labels (z, y, x) at the middle of groups of ``thick`` slices."""
    count = labels.shape[0] // thick
    return np.ascontiguousarray(labels[thick // 2 : count * thick : thick])


def write_case(folder: str | Path, case: PhantomCase) -> Path:
    """Write ``NAME_ct``, ``_labels`` (the complete truth), ``_annotation``, ``_kidneys`` and ``NAME.json``.

    Returns
    -------
    Path
        The CT's file.
    """
    import os

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = case.scan.name
    ct = folder / f"{name}_ct.nii.gz"
    for suffix, labels in (
        ("labels", case.truth),
        ("annotation", case.annotation),
        ("kidneys", case.kidneys),
    ):
        write_labels(folder / f"{name}_{suffix}.nii.gz", labels, like=case.scan)
    partial = folder / f".{name}.json.partial"
    partial.write_text(json.dumps(case.record, indent=1), encoding="utf-8")
    os.replace(partial, folder / f"{name}.json")
    write_scan(ct, case.scan)  # last: a folder with a CT has all of its case
    return ct


def phantom_steps(
    out: str | Path, cases: int, seed: int = 0, settings: PhantomSettings | None = None
) -> Generator[Progress, None, list[Path]]:
    """Make and write cases one after another; returns the CTs' files.

    Parameters
    ----------
    out : path-like
        Folder to write to.
    cases : int
        How many.
    seed : int
        Of the first case; the others follow by one.
    settings : PhantomSettings, optional
        What the phantoms are to be.
    """
    settings = settings or PhantomSettings()
    if cases < 1:
        raise SettingsError(f"The number of phantom cases is {cases}; it must be at least 1.")
    written: list[Path] = []
    yield Progress(0, cases, "drawing phantoms")
    for number in range(cases):
        written.append(write_case(out, make_case(seed + number, replace(settings))))
        yield Progress(number + 1, cases, f"phantom {written[-1].name}")
    return written
