"""Kidneys: a bean with a lobulated surface, cortex, pyramids and sinus fat; cysts, tumours and stones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_kidnet.phantom.field import smooth_noise
from napari_kidnet.phantom.hilum import PARENCHYMA, SINUS, Kidney, Side
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tree import unit
from napari_kidnet.phantom.tubes import Segment, draw_segments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.phantom.field import Canvas

__all__ = ["Bean", "clear_hilum", "draw_kidney", "draw_stone", "kidney_outside", "random_bean"]

_S = Structure
_HARD = {_S.AIR, _S.SKIN, _S.SUBCUTANEOUS_FAT, _S.BONE_CORTICAL, _S.BONE_SPONGY, _S.DISC, _S.CARTILAGE,
         _S.SPINAL_FLUID, _S.SPINAL_CORD, _S.MUSCLE, _S.LUNG, _S.BED}  # fmt: skip
_YIELDING = [int(s) for s in Structure if s not in _HARD]


@dataclass(frozen=True, slots=True)
class Bean:
    """One kidney's place and shape, in body mm.

    Attributes
    ----------
    side : {"left", "right"}
        The patient's side.
    centre_mm : float array (3,)
        Middle (z, y, x).
    axes : float array (3, 3)
        Rows: along the kidney upwards, from front to back, from hilum to outer border.
    radii_mm : float array (3,)
        Half lengths along those axes.
    bend_mm : float
        How far the poles turn towards the hilum.
    """

    side: Side
    centre_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    bend_mm: float


def random_bean(side: Side, rng: np.random.Generator, spine_x_mm: float) -> Bean:
    """Return a random kidney; the left one lies a little higher."""
    out = 1.0 if side == "left" else -1.0
    radii = 0.5 * np.array([rng.uniform(94, 128), rng.uniform(41, 53), rng.uniform(48, 61)])
    tilt, lean, turn = np.radians([rng.uniform(8, 25), rng.uniform(-4, 16), rng.uniform(15, 55)])
    along = unit(np.array([1.0, np.tan(lean), -out * np.tan(tilt)]))
    outer = np.array([0.0, np.sin(turn), out * np.cos(turn)])
    outer = unit(outer - (outer @ along) * along)
    back = np.cross(along, outer) * out
    if back[1] < 0:
        back = -back
    high = rng.normal(4.0, 9.0) + (rng.uniform(5.0, 14.0) if side == "left" else 0.0)
    centre = np.array(
        [high - 4.0, rng.uniform(2.0, 17.0), out * (spine_x_mm + rng.uniform(13, 21) + radii[2])]
    )
    return Bean(side, centre, np.stack([along, back, outer]), radii, float(rng.uniform(3.0, 10.0)))


def kidney_outside(bean: Bean, canvas: Canvas) -> Kidney:
    """Return what vessels need to know of a kidney that lies outside of the canvas."""
    u, v, w = bean.axes
    a, b, c = bean.radii_mm
    sinus = bean.centre_mm - 0.35 * c * w
    hilum = bean.centre_mm - 1.05 * c * w
    ends = bean.centre_mm + canvas.rng.normal(0, 1, (60, 3)) @ np.stack(
        [0.5 * a * u, 0.4 * b * v, 0.3 * c * w]
    )
    place = canvas.to_scan(np.vstack([sinus, hilum, ends]))
    return Kidney(place[0], place[1], unit(place[1] - place[0]), u, place[2:], place[2:], 2 * a)


def draw_kidney(canvas: Canvas, bean: Bean) -> None:
    """Draw perirenal fat and one kidney, with cysts in 30 % and a tumour in 10 %."""
    rng, size = canvas.rng, bean.radii_mm.max() * 1.2
    fat = rng.uniform(2.0, 14.0)
    box = canvas.box(bean.centre_mm - size - fat, bean.centre_mm + size + fat)
    if box is None:
        return
    body = canvas.coordinates(box)
    away = [c - np.float32(m) for c, m in zip(body, bean.centre_mm, strict=True)]
    u, v, w = (sum(np.float32(row[k]) * away[k] for k in range(3)) for row in bean.axes)
    a, b, c = bean.radii_mm
    w = w + bean.bend_mm * (u / a) ** 2 - 0.4 * bean.bend_mm  # poles turn towards the hilum
    level = np.sqrt(np.abs(u / a) ** 2.2 + (v / b) ** 2 + (w / c) ** 2)
    shape = canvas.structures[box].shape
    lobes = rng.uniform(0.5, 1.8) * smooth_noise(shape, canvas.spacing, rng.uniform(11, 20), rng)
    swell = 1.2 * smooth_noise(shape, canvas.spacing, 40.0, rng)
    surface = (1.0 - level) * 0.5 * (b + c) + lobes * 0.6 + swell  # about mm below the surface
    if rng.random() < 0.6:  # Gerota's fascia
        fascia = np.abs(surface + fat + 0.4 * lobes) < 0.6
        canvas.paint(fascia, box, _S.MUSCLE, (_S.VISCERAL_FAT,))
    canvas.paint(surface > -fat, box, _S.VISCERAL_FAT, _YIELDING)
    whole = (surface > 0) & np.isin(canvas.structures[box], _YIELDING)

    # Sinus: a flat hollow that opens at the hilum; 1 at its wall.
    open_u, open_v = rng.uniform(0.42, 0.58) * a, rng.uniform(0.28, 0.42) * b
    deep = rng.uniform(0.0, 0.3) * c
    ragged = 0.16 * smooth_noise(shape, canvas.spacing, 9.0, rng)
    narrow = 1.0 + 0.35 * np.clip((-w - 0.55 * c) / (0.45 * c), 0, 1)  # lips close the mouth
    hollow = np.sqrt((u / open_u * narrow) ** 2 + (v / open_v * narrow) ** 2)
    inward = np.clip((w + 0.3 * c) / (deep + 0.3 * c), 0, None)
    sinus = np.sqrt(hollow**2 + inward**2) + ragged < 1.0
    cortex_id, medulla_id = PARENCHYMA[bean.side]
    part = canvas.structures[box]
    part[whole] = cortex_id
    part[whole & sinus] = SINUS[bean.side]
    _draw_pyramids(canvas, part, whole, (cortex_id, medulla_id, SINUS[bean.side]))
    _draw_lesions(canvas, bean)


def clear_hilum(canvas: Canvas, bean: Bean) -> None:
    """Clear fat for the vessels between a kidney's hilum and the great vessels."""
    rng = canvas.rng
    hilum = bean.centre_mm - 0.9 * bean.radii_mm[2] * bean.axes[2]
    out = 1.0 if bean.side == "left" else -1.0
    ends = [
        hilum,
        (hilum[0] + 3, 0.5 * hilum[1] - 12, 0.5 * hilum[2] + 8 * out),
        (hilum[0] + 8, -28.0, 16 * out),
    ]
    lane = canvas.path(ends, rng.uniform((9, 7, 6), (16, 12, 10)), 1.0)
    giving = [
        s
        for s in _YIELDING
        if s not in (_S.PSOAS, *PARENCHYMA[bean.side], SINUS[bean.side], _S.CYST, _S.TUMOUR)
    ]
    canvas.draw([lane], _S.VISCERAL_FAT, giving, (1.4, 1.0, 1.0))


def _draw_pyramids(
    canvas: Canvas, part: NDArray[np.uint8], whole: NDArray[np.bool_], ids: tuple[int, int, int]
) -> None:
    """Draw 8–12 medullary pyramids per row from the sinus to the cortex, in place."""
    rng, voxel = canvas.rng, np.asarray(canvas.spacing)
    cortex_id, medulla_id, sinus_id = ids
    found = ndimage.find_objects(whole.astype(np.uint8))
    if not found:
        return
    part, whole = part[found[0]], whole[found[0]]  # a distance of everything about it would cost far more
    sinus = part == sinus_id
    if not sinus.any():
        return
    edge = np.pad(whole, 1)
    depth = ndimage.distance_transform_edt(edge, canvas.spacing)[1:-1, 1:-1, 1:-1]
    thick = rng.uniform(4.5, 7.5)
    base = np.argwhere((np.abs(depth - thick - 0.7) < 0.7) & (part == cortex_id)) * voxel
    wall = np.argwhere(sinus & ndimage.binary_dilation(part == cortex_id)) * voxel
    if len(base) < 20 or len(wall) < 5:
        return
    wall = wall[rng.permutation(len(wall))[:1500]]
    pool = base[rng.permutation(len(base))[:1500]]
    chosen = [pool[0]]
    gap = np.full(len(pool), np.inf)
    for _ in range(int(rng.integers(12, 21))):  # rows in front and behind: 8–12 seen in a coronal slice
        gap = np.minimum(gap, np.linalg.norm(pool - chosen[-1], axis=1))
        chosen.append(pool[np.argmax(gap)])
    pyramids = []
    for foot in chosen:
        away = np.linalg.norm(wall - foot, axis=1)
        tip = wall[np.argmin(away + rng.uniform(0, 3))]
        wide = rng.uniform(6.0, 9.5)
        pyramids.append(Segment(np.stack([tip, foot]), np.array([rng.uniform(1.5, 3.5), wide])))
    rim = thick + 0.7 * smooth_noise(part.shape, canvas.spacing, 9.0, rng)
    draft = np.where(depth > rim, part, 0).astype(np.uint8)
    draw_segments(draft, canvas.spacing, pyramids, medulla_id, over=(cortex_id,))
    part[draft == medulla_id] = medulla_id


def _draw_lesions(canvas: Canvas, bean: Bean) -> None:
    """Draw cysts and, rarely, a tumour at the kidney's border."""
    rng = canvas.rng
    lesions = [(_S.CYST, float(np.clip(rng.gamma(2.0, 4.5), 2.5, 28.0))) for _ in range(rng.geometric(0.5))]
    lesions = lesions if rng.random() < 0.30 else []
    if rng.random() < 0.10:
        lesions.append((_S.TUMOUR, rng.uniform(6.0, 26.0)))
    for structure, radius in lesions:
        way = unit(rng.normal(0.0, 1.0, 3))
        way[2] = abs(way[2]) if radius > 6.0 else way[2]  # large ones bulge outwards, not into the hilum
        place = bean.centre_mm + (way * bean.radii_mm * rng.uniform(0.65, 1.05)) @ bean.axes
        radii = radius * rng.uniform(0.85, 1.15, 3)
        canvas.ellipsoid(place, radii, structure, _YIELDING, rough=0.08 if structure == _S.TUMOUR else 0.02)


def draw_stone(canvas: Canvas, collecting: int) -> None:
    """Put a stone into a collecting system that is already drawn."""
    rng = canvas.rng
    inside = np.flatnonzero(canvas.structures == collecting)
    if not len(inside):
        return
    place = np.unravel_index(inside[rng.integers(len(inside))], canvas.structures.shape)
    points = (np.array([place]) + rng.normal(0, 0.3, (2, 3))) * np.asarray(canvas.spacing)
    radius = rng.uniform(1.0, 4.0)
    canvas.draw([Segment(points, np.array([radius, 0.7 * radius]))], _S.STONE, (collecting,))
