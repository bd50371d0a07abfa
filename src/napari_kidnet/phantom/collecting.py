"""The collecting system: calyces, renal pelvis and ureter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tree import moved, spread
from napari_kidnet.phantom.tubes import Segment, draw_segments, path_through

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.phantom.hilum import Kidney, Side

__all__ = ["ARTERY", "COLLECTING", "TISSUE", "URETER", "VEIN", "draw_collecting"]

_S = Structure
ARTERY: Final[dict[Side, int]] = {"left": _S.RENAL_ARTERY_LEFT, "right": _S.RENAL_ARTERY_RIGHT}
VEIN: Final[dict[Side, int]] = {"left": _S.RENAL_VEIN_LEFT, "right": _S.RENAL_VEIN_RIGHT}
COLLECTING: Final[dict[Side, int]] = {"left": _S.COLLECTING_LEFT, "right": _S.COLLECTING_RIGHT}
URETER: Final[dict[Side, int]] = {"left": _S.URETER_LEFT, "right": _S.URETER_RIGHT}

_VESSELS = {
    *ARTERY.values(), *VEIN.values(), *COLLECTING.values(), *URETER.values(),
    _S.AORTA, _S.PLAQUE, _S.OTHER_ARTERY, _S.VENA_CAVA, _S.PORTAL_VEIN, _S.OTHER_VEIN,
}  # fmt: skip
TISSUE: Final = [int(s) for s in Structure if s not in _VESSELS and s not in (_S.AIR, _S.BED, _S.SKIN)]


def draw_collecting(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    kidney: Kidney,
    side: Side,
    rng: np.random.Generator,
) -> None:
    """Draw calyces, pelvis and ureter."""
    wide = (
        rng.uniform(1.7, 2.4) if rng.random() < 0.10 else rng.uniform(0.8, 1.25)
    )  # hydronephrosis in a tenth
    back = np.array([0.0, rng.uniform(1.0, 5.0), 0.0])  # the pelvis lies behind the vessels
    heart = kidney.sinus_mm + 0.25 * (kidney.hilum_mm - kidney.sinus_mm) + back
    mouth = kidney.hilum_mm + back
    junction = (
        mouth
        + kidney.outward * rng.uniform(2.0, 8.0)
        + (-rng.uniform(8.0, 18.0), rng.uniform(-2.0, 2.0), 0.0)
    )
    thick = rng.uniform(3.0, 5.8) * wide
    radii = np.array([0.7 * thick, thick, 0.6 * thick, 2.0])
    pelvis = path_through(
        np.stack([heart, mouth, 0.5 * (mouth + junction) + kidney.outward, junction]), radii, 1.0
    )
    over = [*TISSUE, _S.OTHER_VEIN]
    draw_segments(structures, spacing, [pelvis], COLLECTING[side], over=over)
    # A core of urine passes through whatever vessel lies across, or the ureter would hang in the air.
    core = Segment(pelvis.points_mm, np.full(len(pelvis.points_mm), 1.0))
    draw_segments(structures, spacing, [core], COLLECTING[side], over=[*over, ARTERY[side], VEIN[side]])

    papillae = spread(kidney.papillae_mm, int(rng.integers(7, 12)), rng)
    majors = np.array_split(np.argsort(papillae @ kidney.along, kind="stable"), int(rng.integers(2, 4)))
    for group in majors:
        neck = heart + 0.5 * (papillae[group].mean(axis=0) - heart)
        stem = path_through(
            np.stack([heart, 0.5 * (heart + neck) + rng.normal(0, 0.8, 3), neck]),
            rng.uniform(1.7, 2.7) * wide,
        )
        calyces = [stem]
        for tip in papillae[group]:
            r, cup = rng.uniform(1.1, 2.0) * wide, rng.uniform(2.1, 3.2) * wide
            bend = 0.5 * (neck + tip) + rng.normal(0, 0.8, 3)
            calyces.append(
                path_through(
                    np.stack([neck, bend, neck + 0.8 * (tip - neck), tip]), np.array([r, r, r, cup]), 1.0
                )
            )
        draw_segments(structures, spacing, calyces, COLLECTING[side], over=over)
        # Here too a line of voxels passes between the vessels, or a crowded sinus would lose its calyces.
        lines = [Segment(c.points_mm, np.zeros(len(c.points_mm))) for c in calyces]
        draw_segments(structures, spacing, lines, COLLECTING[side], over=[*over, ARTERY[side], VEIN[side]])
    ureter = _ureter(structures, spacing, junction, side, rng)
    draw_segments(structures, spacing, [ureter], URETER[side], over=over)
    # Below, a line of voxels: a vessel that lies across must cut neither the ureter nor itself in two.
    thin = np.where(np.arange(len(ureter.radius_mm)) < 12, np.minimum(ureter.radius_mm, 0.8), 0.0)
    through = [*over, ARTERY[side], VEIN[side], _S.OTHER_ARTERY]
    draw_segments(structures, spacing, [Segment(ureter.points_mm, thin)], URETER[side], over=through)


def _ureter(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    junction: NDArray[np.float64],
    side: Side,
    rng: np.random.Generator,
) -> Segment:
    """Return the ureter from the pelvis's end down in front of the psoas, to bladder or field's end."""
    out = 1.0 if side == "left" else -1.0
    base = float(np.clip(rng.normal(2.15, 0.5), 0.85, 4.0))
    points = [junction]
    drift = junction[2] - out * rng.uniform(2.0, 8.0)
    middle = 0.5 * structures.shape[2] * spacing[2]
    bladder = _mean_of(structures, spacing, _S.BLADDER)
    for z in np.arange(junction[0] - 22.0, -12.0, -12.0):
        if bladder is not None and z < bladder[0] + 15.0:
            points.append(moved(bladder, 5.0, 10.0, out * 12.0))
            break
        found = _psoas_front(structures, spacing, z, middle, out)
        if found is None:
            goal = np.array([z, points[-1][1] + rng.normal(0, 1.5), points[-1][2] + rng.normal(0, 1.5)])
        else:
            goal = np.array([z, found[0] - base - 1.0, 0.6 * found[1] + 0.4 * drift])
        step = goal[1:] - points[-1][1:]
        goal[1:] = points[-1][1:] + step * min(
            1.0, 7.0 / max(float(np.linalg.norm(step)), 1e-6)
        )  # it never leaps sideways
        points.append(moved(goal, 0.0, *rng.normal(0.0, 0.8, 2)))
    if len(points) == 1:
        points.append(junction - (junction[0] + 5.0, 0.0, 0.0))
    path = path_through(np.stack(points), base)
    swell = 1.0 + 0.25 * np.sin(np.linspace(0, rng.uniform(6, 20), len(path.radius_mm)) + rng.uniform(0, 6))
    radii = np.clip(base * swell, 0.6, 4.0)
    radii[0] = max(radii[0], 1.5)
    for _ in range(int(rng.integers(0, 4))):  # peristalsis: collapsed stretches
        start = int(rng.integers(2, max(3, len(radii))))
        radii[start : start + int(rng.integers(5, 13))] = 0.5
    return Segment(path.points_mm, radii)


def _psoas_front(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    z_mm: float,
    middle_mm: float,
    out: float,
) -> tuple[float, float] | None:
    """Return the psoas's front edge (y) and middle (x) in mm on one side at a level, if it has one there."""
    z = round(z_mm / spacing[0])
    if not 0 <= z < structures.shape[0]:
        return None
    y, x = np.nonzero(structures[z] == _S.PSOAS)
    all_x = np.flatnonzero((structures[z] == _S.BONE_SPONGY).any(axis=0))
    spine = np.median(all_x) * spacing[2] if len(all_x) else middle_mm
    kept = (x * spacing[2] - spine) * out > 0
    if kept.sum() < 12:
        return None
    y, x = y[kept], x[kept]
    across = np.sort(x)[len(x) // 2]  # not the mean: a psoas of two parts has none of itself there
    near = np.abs(x - across) < max(2.0, 5.0 / spacing[2])
    return float(y[near].min() * spacing[1]), float(across * spacing[2])


def _mean_of(
    structures: NDArray[np.uint8], spacing: tuple[float, float, float], structure: int
) -> NDArray[np.float64] | None:
    """Return the middle (3,) in mm of a structure, or None where there is none."""
    where = np.argwhere(structures == structure)
    return where.mean(axis=0) * np.asarray(spacing) if len(where) else None
