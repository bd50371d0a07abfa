"""Hounsfield units: what each structure looks like in each phase of contrast, and how it varies.

Means and spreads are those of the literature in the science report (§3.1). ``typical`` draws a scan from
them; ``wide`` draws far beyond, with phases blended into each other, because a network trained on typical
scans of one generator fails on the first real one (§6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.splines import smooth_field
from napari_kidnet.phantom.structures import Anatomy, Structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PHASES", "Phase", "TissueSettings", "paint", "typical_hu"]

_S = Structure

Phase = Literal["unenhanced", "arterial", "venous", "excretory"]
PHASES: Final[tuple[Phase, ...]] = ("unenhanced", "arterial", "venous", "excretory")


@dataclass(frozen=True, slots=True)
class TissueSettings:
    """How much tissue varies.

    Attributes
    ----------
    variety : "typical" or "wide"
        ``typical`` for scans as the literature has them; ``wide`` for training.
    """

    variety: Literal["typical", "wide"] = "typical"

    def __post_init__(self) -> None:
        if self.variety not in ("typical", "wide"):
            raise SettingsError(f'The variety of tissue is {self.variety!r}; it must be "typical" or "wide".')


# Mean and between-scan spread in HU: unenhanced, arterial, venous, excretory.
_TABLE: Final[dict[tuple[Structure, ...], tuple[tuple[float, float], ...]]] = {
    (_S.AORTA, _S.OTHER_ARTERY): ((40, 5), (300, 45), (150, 20), (110, 15)),
    (_S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT): ((40, 5), (280, 45), (145, 20), (108, 15)),
    (_S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT): ((40, 5), (150, 35), (165, 20), (110, 15)),
    (_S.VENA_CAVA,): ((40, 5), (60, 15), (140, 20), (108, 12)),
    (_S.PORTAL_VEIN,): ((40, 5), (90, 25), (165, 20), (110, 15)),
    (_S.OTHER_VEIN,): ((40, 5), (60, 20), (140, 25), (108, 15)),
    (_S.CORTEX_LEFT, _S.CORTEX_RIGHT): ((35, 4), (180, 25), (180, 15), (130, 12)),
    (_S.MEDULLA_LEFT, _S.MEDULLA_RIGHT): ((35, 4), (70, 15), (160, 15), (135, 12)),
    (_S.COLLECTING_LEFT, _S.COLLECTING_RIGHT, _S.URETER_LEFT, _S.URETER_RIGHT): (
        (5, 4),
        (8, 6),
        (15, 10),
        (600, 200),
    ),
    (_S.SINUS_FAT_LEFT, _S.SINUS_FAT_RIGHT): ((-85, 12),) * 4,
    (_S.SUBCUTANEOUS_FAT,): ((-104, 6),) * 4,
    (_S.VISCERAL_FAT,): ((-100, 8),) * 4,
    (_S.SKIN,): ((20, 20),) * 4,
    (_S.MUSCLE,): ((54, 6), (57, 6), (62, 6), (60, 6)),
    (_S.PSOAS,): ((54, 6), (58, 6), (63, 6), (60, 6)),
    (_S.BONE_CORTICAL,): ((620, 150),) * 4,
    (_S.BONE_SPONGY,): ((170, 40), (178, 40), (185, 40), (180, 40)),
    (_S.DISC,): ((85, 12),) * 4,
    (_S.CARTILAGE,): ((105, 25),) * 4,
    (_S.SPINAL_FLUID,): ((14, 6), (15, 6), (18, 6), (18, 6)),
    (_S.SPINAL_CORD,): ((34, 5), (38, 5), (42, 5), (40, 5)),
    (_S.LUNG,): ((-830, 40), (-820, 40), (-815, 40), (-815, 40)),
    (_S.LIVER,): ((58, 7), (75, 10), (110, 12), (90, 10)),
    (_S.SPLEEN,): ((45, 5), (130, 20), (120, 12), (90, 10)),
    (_S.PANCREAS,): ((38, 7), (95, 15), (90, 12), (70, 10)),
    (_S.GALLBLADDER,): ((8, 6), (8, 6), (10, 7), (12, 8)),
    (_S.ADRENAL,): ((25, 10), (65, 15), (70, 12), (50, 12)),
    (_S.BOWEL_WALL,): ((40, 6), (80, 15), (90, 12), (70, 10)),
    (_S.BOWEL_FLUID,): ((14, 10),) * 4,
    (_S.BOWEL_STOOL,): ((35, 20),) * 4,
    (_S.BOWEL_GAS,): ((-900, 60),) * 4,
    (_S.BOWEL_CONTRAST,): ((250, 90),) * 4,
    (_S.BOWEL_CHYME,): ((60, 18), (72, 20), (80, 20), (75, 20)),
    (_S.BLADDER,): ((6, 5), (6, 5), (8, 6), (220, 120)),
    (_S.PROSTATE_UTERUS,): ((40, 6), (70, 12), (95, 12), (80, 10)),
    (_S.CYST,): ((7, 5),) * 4,
    (_S.TUMOUR,): ((33, 5), (110, 35), (100, 25), (75, 18)),
    (_S.STONE,): ((750, 200),) * 4,
    (_S.PLAQUE,): ((700, 200),) * 4,
    (_S.BED,): ((180, 30),) * 4,
    (_S.AIR,): ((-1000, 0),) * 4,
}

# When the scanner starts, in units of phases (0 unenhanced … 3 excretory), if phases are blended: between
# arterial and venous lie the late arterial and the portal-venous scans that most hospitals make.
_TIMING: Final[dict[Phase, tuple[float, float]]] = {
    "unenhanced": (0.0, 0.12),
    "arterial": (0.62, 1.55),
    "venous": (1.45, 2.35),
    "excretory": (2.3, 3.0),
}

# Standard deviation in HU of the variation within a structure at 45, 14 and 4.5 mm, and of its grain at 1.8
# mm.
_WITHIN: Final[dict[tuple[Structure, ...], tuple[float, float, float, float]]] = {
    (_S.SUBCUTANEOUS_FAT, _S.VISCERAL_FAT): (3, 4, 7, 5),
    (_S.SINUS_FAT_LEFT, _S.SINUS_FAT_RIGHT): (2, 6, 14, 10),
    (_S.MUSCLE, _S.PSOAS): (4, 5, 7, 5),
    (_S.BONE_SPONGY,): (18, 30, 34, 38),
    (_S.BONE_CORTICAL,): (40, 70, 90, 80),
    (_S.LIVER, _S.SPLEEN): (4, 4, 4, 3),
    (_S.PANCREAS, _S.ADRENAL): (3, 6, 14, 8),
    (_S.CORTEX_LEFT, _S.CORTEX_RIGHT): (5, 7, 8, 5),
    (_S.MEDULLA_LEFT, _S.MEDULLA_RIGHT): (4, 8, 8, 4),
    (_S.BOWEL_FLUID,): (5, 8, 5, 3),
    (_S.BOWEL_CHYME,): (6, 16, 8, 4),
    (_S.BOWEL_STOOL,): (10, 22, 45, 55),
    (_S.BOWEL_GAS,): (15, 10, 10, 5),
    (_S.BOWEL_CONTRAST,): (30, 60, 25, 10),
    (_S.BOWEL_WALL,): (6, 12, 12, 6),
    (_S.AORTA, _S.OTHER_ARTERY): (5, 6, 3, 1),
    (_S.VENA_CAVA, _S.OTHER_VEIN, _S.PORTAL_VEIN): (7, 8, 5, 1),
    (_S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT): (6, 9, 5, 1),
    (_S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT): (5, 7, 3, 1),
    (_S.LUNG,): (20, 20, 35, 45),
    (_S.TUMOUR,): (6, 25, 25, 10),
    (_S.DISC, _S.CARTILAGE): (4, 8, 10, 8),
    (_S.SPINAL_FLUID,): (2, 4, 8, 6),
    (_S.SPINAL_CORD,): (2, 3, 4, 2),
    (_S.COLLECTING_LEFT, _S.COLLECTING_RIGHT, _S.URETER_LEFT, _S.URETER_RIGHT): (2, 3, 3, 1),
    (_S.SKIN,): (5, 10, 15, 10),
}
_SCALES_MM: Final = (45.0, 14.0, 4.5, 1.8)

_BLOOD: Final = (
    _S.AORTA, _S.OTHER_ARTERY, _S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT, _S.RENAL_VEIN_LEFT,
    _S.RENAL_VEIN_RIGHT, _S.VENA_CAVA, _S.PORTAL_VEIN, _S.OTHER_VEIN,
)  # fmt: skip
_IS_THIN: Final = np.zeros(256, bool)
_IS_THIN[
    [
        _S.OTHER_ARTERY, _S.OTHER_VEIN, _S.PORTAL_VEIN, _S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT,
        _S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT, _S.COLLECTING_LEFT, _S.COLLECTING_RIGHT, _S.URETER_LEFT,
        _S.URETER_RIGHT,
    ]
] = True  # fmt: skip
_URINE: Final = (_S.COLLECTING_LEFT, _S.COLLECTING_RIGHT, _S.URETER_LEFT, _S.URETER_RIGHT)


def typical_hu(structure: Structure, phase: Phase) -> tuple[float, float]:
    """Return mean and between-scan spread of a structure in a phase, in HU.

    Examples
    --------
    >>> typical_hu(Structure.AORTA, "arterial")
    (300, 45)
    """
    for structures, phases in _TABLE.items():
        if structure in structures:
            return phases[PHASES.index(phase)]
    raise SettingsError(f"There is no HU for {structure!r}.")


def paint(
    anatomy: Anatomy, phase: Phase, rng: np.random.Generator, settings: TissueSettings | None = None
) -> NDArray[np.float32]:
    """Give every voxel of an anatomy its HU, before the scanner blurs them and adds noise.

    Parameters
    ----------
    anatomy : Anatomy
        Structures (z, y, x).
    phase : str
        One of ``PHASES``.
    rng : numpy.random.Generator
        Source of all randomness.
    settings : TissueSettings, optional
        How much tissue varies.

    Returns
    -------
    float32 array (z, y, x)
        Hounsfield units on the anatomy's grid.
    """
    if phase not in PHASES:
        raise SettingsError(f"The phase is {phase!r}; it must be one of {', '.join(PHASES)}.")
    wide = (settings or TissueSettings()).variety == "wide"
    structures, spacing = anatomy.structures, anatomy.spacing
    time = float(rng.uniform(*_TIMING[phase])) if wide else float(PHASES.index(phase))
    base = _draw_table(time, rng, wide)
    hu: NDArray[np.float32] = base[structures]
    strength = float(rng.uniform(0.6, 1.7)) if wide else 1.0
    for level, scale in enumerate(_SCALES_MM):
        amount = np.zeros(256, np.float32)
        for ids, within in _WITHIN.items():
            for structure in ids:
                spread = strength * float(rng.uniform(0.4, 1.7)) if wide else 1.0
                amount[structure] = within[level] * spread * rng.choice([-1, 1])
        field = smooth_field(rng, structures.shape, spacing, scale)
        if level == 2:
            _add_muscle_streaks(hu, structures, field, rng)
            _add_stool_gas(hu, structures, field)
        hu += amount[structures] * field
    for vessel in (_S.AORTA, _S.OTHER_ARTERY):
        _add_gradient(hu, structures, vessel, spacing, float(rng.normal(0, 0.05 if wide else 0.02)))
    _mix_cava(hu, anatomy, base, rng, wide)
    if time > 1.6:
        _fill_with_contrast(hu, anatomy, base, time, rng)
    _thin_out(hu, structures)
    return hu


def _thin_out(hu: NDArray[np.float32], structures: NDArray[np.uint8]) -> None:
    """Blend vessels thinner than a voxel with what surrounds them, in place.

    They are drawn as unbroken lines of whole voxels, and would shine twice as bright as they do in a scan: a
    voxel that one line passes through has 2 of its 26 neighbours in the vessel, and half of it is vessel.
    """
    inner = structures[1:-1, 1:-1, 1:-1]
    if not inner.size:
        return
    z, y, x = (axis + 1 for axis in np.nonzero(_IS_THIN[inner]))
    _, rows, columns = structures.shape
    flat = (z * rows + y) * columns + x
    ids, values = structures.ravel(), hu.ravel()
    own = ids[flat]
    same = np.zeros(len(flat), np.float32)
    around = np.zeros(len(flat), np.float32)
    for dz in (-1, 0, 1):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if dz or dy or dx:
                    there = flat + (dz * rows + dy) * columns + dx
                    other = ids[there] != own
                    same += ~other
                    around += np.where(other, values[there], 0)
    share = np.clip(0.3 + 0.085 * same, 0, 1)
    thin = share < 1
    mean = around[thin] / (26 - same[thin])  # fewer than 26 neighbours are its own where it is thin
    values[flat[thin]] = share[thin] * values[flat[thin]] + (1 - share[thin]) * mean


def _draw_table(time: float, rng: np.random.Generator, wide: bool) -> NDArray[np.float32]:
    """Return one scan's HU of each structure id, float32 (256,)."""
    low = min(int(time), 2)
    part = time - low
    base = np.zeros(256, np.float32)
    # Tube voltage, dose and the patient's size change all enhancement together.
    iodine = float(np.clip(rng.lognormal(0.08, 0.3), 0.6, 1.75)) if wide else 1.0
    shared = {"artery": float(rng.normal()), "vein": float(rng.normal())}
    for structures, phases in _TABLE.items():
        plain = phases[0][0]
        mean = (1 - part) * phases[low][0] + part * phases[low + 1][0]
        spread = (1 - part) * phases[low][1] + part * phases[low + 1][1]
        shown = plain + (mean - plain) * iodine
        for structure in structures:
            if structure == _S.AIR:
                base[structure] = -1000
            elif structure in _BLOOD:
                kind = "artery" if structure in (_S.AORTA, _S.OTHER_ARTERY, *_ARTERIES) else "vein"
                # The arteries of one scan share their enhancement, and so do its veins, but not quite.
                draw = 0.85 * shared[kind] + 0.52 * float(rng.normal())
                value = shown + spread * draw
                if wide:
                    value += (shown - plain) * float(rng.normal(0, 0.1)) + float(rng.normal(0, 6))
                base[structure] = max(value, 25.0)
            elif wide:
                factor = float(rng.normal(1, 0.12)) if structure not in _GASES else 1.0
                base[structure] = shown * factor + float(rng.normal(0, 1.3)) * max(spread, 4.0)
            else:
                base[structure] = shown + spread * float(rng.normal())
    if wide:
        base[_S.BONE_SPONGY] = rng.uniform(90, 330)
        base[_S.BONE_CORTICAL] = base[_S.BONE_SPONGY] + rng.uniform(150, 800)
        base[_S.BOWEL_CHYME] = rng.uniform(40, 135)
        base[_S.BOWEL_CONTRAST] = rng.uniform(120, 500)
        base[_S.SPINAL_FLUID] = rng.uniform(2, 32)
        base[_S.SPINAL_CORD] = base[_S.SPINAL_FLUID] + rng.uniform(2, 28)
        base[_S.LIVER] -= rng.choice([0, rng.uniform(0, 60)], p=[0.75, 0.25])  # a fatty liver
        for left, right in ((_S.SINUS_FAT_LEFT, _S.SINUS_FAT_RIGHT),):
            base[left] = base[right] = rng.uniform(-105, -35)
    # Both kidneys of a scan enhance alike.
    for left, right, apart in (
        (_S.CORTEX_LEFT, _S.CORTEX_RIGHT, 4.0),
        (_S.MEDULLA_LEFT, _S.MEDULLA_RIGHT, 4.0),
    ):
        base[right] = base[left] + rng.normal(0, apart)
    np.clip(base, -1000, 1600, out=base)
    return base


_ARTERIES: Final = (_S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT)
_GASES: Final = (_S.LUNG, _S.BOWEL_GAS)


def _add_muscle_streaks(
    hu: NDArray[np.float32],
    structures: NDArray[np.uint8],
    field: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    """Put fat between the fibres of muscle, in place; ``field`` is noise of a few millimetres."""
    fatty = float(rng.uniform(1.1, 2.6))
    streak = np.flatnonzero(((structures == _S.MUSCLE) | (structures == _S.PSOAS)) & (field > fatty))
    hu.ravel()[streak] -= 45 * np.minimum(field.ravel()[streak] - fatty, 1.5).astype(np.float32) + 25


def _add_stool_gas(
    hu: NDArray[np.float32], structures: NDArray[np.uint8], field: NDArray[np.float32]
) -> None:
    """Put bubbles of gas into stool, in place."""
    bubbles = np.flatnonzero((structures == _S.BOWEL_STOOL) & (field > 1.2))
    hu.ravel()[bubbles] -= 450 * np.minimum(field.ravel()[bubbles] - 1.0, 1.5)


def _add_gradient(
    hu: NDArray[np.float32],
    structures: NDArray[np.uint8],
    vessel: Structure,
    spacing: tuple[float, float, float],
    share: float,
) -> None:
    """Let a vessel's enhancement fall or rise by a share per 100 mm along the body, in place."""
    found = np.flatnonzero(structures == vessel)
    if len(found):
        z = found // (structures.shape[1] * structures.shape[2])
        hu.ravel()[found] *= 1 + np.float32(share / 100 * spacing[0]) * (z - z.mean()).astype(np.float32)


def _mix_cava(
    hu: NDArray[np.float32],
    anatomy: Anatomy,
    base: NDArray[np.float32],
    rng: np.random.Generator,
    wide: bool,
) -> None:
    """Mix the kidneys' bright blood into the vena cava's, with streams that have not mixed yet, in place.

    Below the renal veins the cava's blood comes from the legs; above them it is brighter, and around them
    streams of both lie beside each other (±40 HU).
    """
    structures, spacing = anatomy.structures, anatomy.spacing
    rows = structures.shape[1] * structures.shape[2]
    veins = np.isin(structures[:, ::2, ::2], [_S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT]).any((1, 2))
    cava = np.flatnonzero(structures == _S.VENA_CAVA)
    if not len(cava) or not veins.any():
        return
    z = (cava // rows).astype(np.float32) * np.float32(spacing[0])
    touching = np.flatnonzero(veins)
    level = float(touching.mean()) * spacing[0] + float(rng.normal(0, 8))
    renal = 0.5 * (base[_S.RENAL_VEIN_LEFT] + base[_S.RENAL_VEIN_RIGHT])
    gap = renal - base[_S.VENA_CAVA]
    share = float(rng.uniform(0.25, 0.8)) if wide else 0.55
    above = 1 / (1 + np.exp(-(z - level) / np.float32(rng.uniform(6, 16))))
    mixed = gap * share * above
    near = np.exp(-(((z - level - 10) / 28) ** 2))
    z0 = slice(int(cava[0] // rows), int(cava[-1] // rows) + 1)
    swirl = smooth_field(rng, (z0.stop - z0.start, *structures.shape[1:]), spacing, (22.0, 7.0, 7.0))
    streams = swirl.ravel()[cava - z0.start * rows] * near
    strength = float(rng.uniform(0.15, 0.65)) * abs(gap) if wide else 0.35 * abs(gap)
    hu.ravel()[cava] += mixed + np.clip(streams * min(strength, 45.0), -60, 60)


def _fill_with_contrast(
    hu: NDArray[np.float32],
    anatomy: Anatomy,
    base: NDArray[np.float32],
    time: float,
    rng: np.random.Generator,
) -> None:
    """Let excreted contrast sink to the back of the pelvis and fill stretches of the ureters, in place.

    In the excretory phase contrast is heavier than urine: with the patient on the back the lower, posterior
    part fills first. Before it only traces are there.
    """
    structures, spacing = anatomy.structures, anatomy.spacing
    _, rows, columns = structures.shape
    for number, urine in enumerate(_URINE):
        found = np.flatnonzero(structures == urine)
        if not len(found):
            continue
        values = hu.ravel()[found]
        plain = np.float32(rng.uniform(0, 25))
        dense = max(float(base[urine]), 60.0)
        if time < 2.3 and rng.random() < 0.7:
            hu.ravel()[found] = plain + (values - values.mean())
            continue
        if number < 2:
            y = (found // columns % rows) * spacing[1]
            level = np.quantile(y, rng.choice([0.0, rng.uniform(0.0, 0.6)], p=[0.6, 0.4]))
            full = 1 / (1 + np.exp(-(y - level + 4) / 1.5))
        else:
            z = found // (rows * columns)
            wave = smooth_field(rng, (structures.shape[0], 1, 1), spacing, 25.0)[:, 0, 0]
            gaps = float(rng.uniform(-2.0, 0.8))
            full = 1 / (1 + np.exp(-6 * (wave[z] - gaps)))
        hu.ravel()[found] = plain + (dense - plain) * full.astype(np.float32) + (values - values.mean()) * 0.5
