"""The torso about the organs: body wall, bed, lung bases, muscles, spine and ribs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.phantom.field import smooth_noise
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tubes import Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.phantom.field import Canvas

__all__ = ["Build", "draw_bed", "draw_bones", "draw_muscles", "draw_wall", "random_build"]

_S = Structure
_SOFT = (_S.VISCERAL_FAT, _S.MUSCLE, _S.PSOAS, _S.LUNG)
_PITCH_MM = 36.0  # one lumbar vertebra with its disc


@dataclass(frozen=True, slots=True)
class Build:
    """How a person is built, in mm (body coordinates, see ``field``).

    Attributes
    ----------
    half_width_mm, half_depth_mm, power : float
        The skin's superellipse.
    middle_y_mm : float
        Its middle, from the spine backwards.
    fat_mm, wall_mm : float
        Mean thickness of subcutaneous fat and of the muscle wall.
    spine_y_mm, spine_x_mm : float
        Half axes of the vertebral bodies.
    diaphragm_mm : float
        Level of the diaphragm's domes.
    """

    half_width_mm: float
    half_depth_mm: float
    power: float
    middle_y_mm: float
    fat_mm: float
    wall_mm: float
    spine_y_mm: float
    spine_x_mm: float
    diaphragm_mm: float


def random_build(rng: np.random.Generator) -> Build:
    """Return a random person."""
    fat, wall = float(rng.gamma(3.5, 5.0) + 6.0), float(rng.uniform(9.0, 17.0))
    fat = min(fat, 38.0)
    front = rng.uniform(72.0, 100.0) + 0.8 * fat  # visceral fat goes with subcutaneous fat
    back = 72.0 + 0.8 * fat
    return Build(
        half_width_mm=float(rng.uniform(122.0, 142.0)) + wall + fat,
        half_depth_mm=0.5 * (front + wall + fat + back),
        power=float(rng.uniform(2.1, 2.8)),
        middle_y_mm=0.5 * (back - front - wall - fat),
        fat_mm=fat,
        wall_mm=wall,
        spine_y_mm=float(rng.uniform(15.0, 18.5)),
        spine_x_mm=float(rng.uniform(20.0, 25.0)),
        diaphragm_mm=float(rng.uniform(85.0, 135.0)),
    )


def draw_wall(canvas: Canvas, build: Build) -> None:
    """Draw skin, fat, muscle wall and cavity, and the lung bases above the diaphragm."""
    rng, shape = canvas.rng, canvas.structures.shape
    everything = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    z, y, x = canvas.coordinates(everything)
    y -= np.float32(build.middle_y_mm)
    away = np.hypot(y, x)
    level = _power(x / np.float32(build.half_width_mm), build.power)
    level += _power(y / np.float32(build.half_depth_mm), build.power)
    rim = away * _power(level, -1.0 / build.power)  # skin's distance on this ray
    depth = rim - away  # below the skin, along the ray
    backwards = y / (away + np.float32(1.0))
    fat = np.float32(0.2) * smooth_noise(shape, canvas.spacing, 90.0, rng)
    sideways = backwards**2
    fat += np.float32(0.25) * sideways + np.float32(0.85)
    fat *= np.float32(build.fat_mm)
    np.maximum(fat, 4.0, out=fat)
    np.subtract(1.0, sideways, out=sideways)
    muscle = np.float32(0.12) * smooth_noise(shape, canvas.spacing, 70.0, rng)
    muscle += np.float32(0.5) * sideways + np.float32(0.55)
    muscle *= np.float32(build.wall_mm)
    seam = (np.abs(x) < 9.0) & (backwards < 0)  # linea alba
    muscle[seam] *= np.float32(0.3)
    out = canvas.structures
    out[depth > 0] = _S.SKIN
    out[depth > 2.0] = _S.SUBCUTANEOUS_FAT
    out[depth > fat] = _S.MUSCLE
    if rng.random() < 0.7:  # fat between the layers of the lateral wall
        layer = np.abs(depth - fat - 0.5 * muscle) < 0.6
        out[layer & (sideways > 0.5) & (depth > fat)] = _S.VISCERAL_FAT
    inner = depth > fat + muscle
    out[inner] = _S.VISCERAL_FAT
    top = build.diaphragm_mm
    if z.max() > top - 100.0:
        inside = np.clip(1.0 - (depth - fat - muscle) / 95.0, 0.0, 1.0)  # 1 at the wall, 0 deep inside
        floor = top - 95.0 * inside**2 * (0.75 + 0.35 * backwards) + 12.0 * np.exp(-((x / 30.0) ** 2))
        lung = inner & (z > floor) & (y + build.middle_y_mm > -95.0)
        lung &= np.hypot(x / (build.spine_x_mm + 14), (y + build.middle_y_mm + 12.0) / 44.0) > 1.0
        out[lung] = _S.LUNG
        out[inner & ~lung & (z > floor - 4.0)] = _S.MUSCLE  # diaphragm


def _power(values: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """Return |values| to a power; by logarithms, which float32 arrays do five times faster than ``**``."""
    result: NDArray[np.float32] = np.abs(values)
    result += np.float32(1e-6)
    np.log(result, out=result)
    result *= np.float32(exponent)
    return np.exp(result, out=result)


def draw_bed(canvas: Canvas) -> None:
    """Draw the bed under the patient, in the scanner's own straight coordinates."""
    rng, out = canvas.rng, canvas.structures
    filled = (out != _S.AIR).any(axis=(0, 2))
    if not filled.any() or filled[-1]:
        return
    back = int(np.flatnonzero(filled)[-1]) * canvas.spacing[1]
    y = (np.arange(out.shape[1]) * canvas.spacing[1])[:, None]
    x = ((np.arange(out.shape[2]) - out.shape[2] / 2) * canvas.spacing[2])[None]
    curve, gap = rng.uniform(0.0, 4e-4), rng.uniform(2.0, 12.0)
    sheet = np.zeros(out.shape[1:], bool)
    for lower in (0.0, rng.uniform(12.0, 40.0)):
        sheet |= np.abs(y - (back + gap + lower - curve * x**2)) < 1.6
    np.putmask(out, (out == _S.AIR) & sheet[None], _S.BED)


def draw_muscles(canvas: Canvas, build: Build) -> None:
    """Draw erector spinae, quadratus lumborum, psoas and the diaphragm's crura."""
    rng = canvas.rng
    fat = (_S.VISCERAL_FAT,)
    bulk = rng.uniform(0.75, 1.2)
    arch = build.spine_y_mm + 32.0
    wide = rng.uniform(30.0, 37.0)
    for side in (-1.0, 1.0):
        box = canvas.box((-400, arch - 30, min(side * 85, 0)), (400, arch + 34, max(side * 85, 0)))
        if box is not None:
            z, y, x = canvas.coordinates(box)
            level = (
                np.abs((y - arch - 4.0) / (22.0 - 0.04 * z)) ** 2.4 + np.abs((x - side * 36.0) / wide) ** 2.4
            )
            marbled = smooth_noise(y.shape, canvas.spacing, 7.0, rng) > rng.uniform(1.3, 3.0)
            canvas.paint((level < 1.0) & ~marbled, box, _S.MUSCLE, (*fat, _S.LUNG))
        low, high = rng.uniform(-135, -115), rng.uniform(0, 15)
        points = [(high, 37, side * 52), (0.5 * (low + high), 39, side * 66), (low, 33, side * 80)]
        canvas.draw([canvas.path(points, [5.0, 10.0 * bulk, 9.0])], _S.MUSCLE, fat, (1.0, 0.8, 1.6))
        thigh = rng.uniform(14.0, 21.0) * bulk
        points = [
            (12, 8, side * 24),
            (-25, 7, side * 33),
            (-70, 2, side * 43),
            (-115, -6, side * 53),
            (-190, -30, side * 66),
        ]
        psoas = canvas.path(points, [4.0, 0.62 * thigh, 0.9 * thigh, thigh, 0.9 * thigh], 1.0)
        canvas.draw([psoas], _S.PSOAS, (*fat, _S.MUSCLE), (1.0, rng.uniform(0.95, 1.25), 1.0))
        thick = rng.uniform(3.0, 6.0)
        front = -build.spine_y_mm - thick
        crus = [
            (110, front - 8, side * 9),
            (45, front - 4, side * 13),
            (5, front + 3, side * 15),
            (-35, front + 6, side * 12),
        ]
        canvas.draw(
            [canvas.path(crus, [thick, 1.2 * thick, thick, 1.5])],
            _S.MUSCLE,
            (*fat, _S.LUNG),
            (1.0, 1.3, 0.9),
        )


def draw_bones(canvas: Canvas, build: Build) -> None:
    """Draw the spine with its canal, discs and processes, the ribs, and the iliac wings."""
    shell = float(canvas.rng.uniform(0.6, 1.8))
    _draw_column(canvas, build, shell)
    _draw_arches(canvas, build, shell)
    _draw_canal(canvas, build)
    _draw_ribs(canvas, build)


def _bone(
    canvas: Canvas, segment: Segment, shell: float, flatten: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> None:
    """Draw a bony tube: spongy inside a cortical shell."""
    canvas.draw([segment], _S.BONE_CORTICAL, (*_SOFT, _S.SUBCUTANEOUS_FAT), flatten)
    core = segment.radius_mm - shell / min(flatten)
    if core.max() > 0.3:
        inner = Segment(segment.points_mm, np.maximum(core, 0.05))
        canvas.draw([inner], _S.BONE_SPONGY, (_S.BONE_CORTICAL,), flatten)


def _draw_column(canvas: Canvas, build: Build, shell: float) -> None:
    """Draw vertebral bodies and discs."""
    rng = canvas.rng
    ry, rx = build.spine_y_mm, build.spine_x_mm
    box = canvas.box((-400, -ry - 6, -rx - 8), (400, ry + 6, rx + 8))
    if box is None:
        return
    z, y, x = canvas.coordinates(box)
    disc = rng.uniform(6.0, 11.0)
    up = np.mod(z, np.float32(_PITCH_MM)) - np.float32(0.5 * _PITCH_MM)  # 0 in a vertebra's middle
    height = 0.5 * (_PITCH_MM - disc)
    waist = 1.0 - 0.09 * np.cos(np.clip(up / height, -1, 1) * np.float32(np.pi / 2))
    uneven = 0.025 * smooth_noise(z.shape, canvas.spacing, 14.0, rng)
    out = np.sqrt((y / ry) ** 2 + (x / rx) ** 2) / (waist + uneven)
    out = np.maximum(out, (y - ry + 3.0) / 6.0 + 0.5)  # flat towards the canal
    canvas.paint(out < 0.97, box, _S.DISC, _SOFT)
    body = (np.abs(up) < height) & (out < 1.0)
    canvas.paint(body, box, _S.BONE_CORTICAL)
    canvas.paint(body & (np.abs(up) < height - 0.8 * shell) & (out < 1.0 - shell / ry), box, _S.BONE_SPONGY)


def _draw_arches(canvas: Canvas, build: Build, shell: float) -> None:
    """Draw pedicles, laminae, facet joints, transverse and spinous processes of each vertebra."""
    rng = canvas.rng
    ry = build.spine_y_mm
    across = rng.uniform(34.0, 46.0)
    for number in range(-6, 6):
        z = (number + 0.5) * _PITCH_MM
        if canvas.box((z - 30, -40, -60), (z + 30, 100, 60)) is None:
            continue
        spine = rng.uniform(30.0, 36.0)
        tail = [(z - 4, ry + 22, 0), (z - 9, ry + spine, 0), (z - 13, ry + spine + rng.uniform(6, 12), 0)]
        _bone(canvas, canvas.path(tail, [4.0, 4.5, 5.5]), shell, (2.0, 1.0, 0.75))
        for side in (-1.0, 1.0):
            pedicle = [(z + 6, ry - 3, side * 14), (z + 5, ry + 10, side * 15)]
            _bone(canvas, canvas.path(pedicle, 4.6), shell, (1.4, 1.0, 1.0))
            lamina = [(z + 3, ry + 11, side * 15), (z - 3, ry + 19, side * 8), (z - 5, ry + 23, side * 1)]
            _bone(canvas, canvas.path(lamina, 3.6), shell, (2.0, 1.0, 1.0))
            wing = across * (1.0 if number < 0 else 0.7)
            process = [(z + 5, ry + 9, side * 16), (z + 5, ry + 12, side * 30), (z + 6, ry + 14, side * wing)]
            _bone(canvas, canvas.path(process, [4.2, 3.0, 3.6]), 0.8 * shell, (1.4, 1.0, 1.0))
            # Facet joint at the disc's level: two bony lips and a thin gap of cartilage between them.
            low = z - 0.5 * _PITCH_MM
            for y, x, r in ((ry + 15.0, 18.5, 5.2), (ry + 19.5, 13.5, 5.0)):
                lip = [(low - 7, y, side * x), (low + 8, y, side * x)]
                _bone(canvas, canvas.path(lip, r * rng.uniform(0.85, 1.1)), shell, (1.0, 0.9, 0.9))
            gap = [
                (low - 8, ry + 20.5, side * 18.5),
                (low, ry + 17.0, side * 15.5),
                (low + 8, ry + 13.0, side * 13.5),
            ]
            canvas.draw(
                [canvas.path(gap, 0.8)], _S.CARTILAGE, (_S.BONE_CORTICAL, _S.BONE_SPONGY), (1.0, 2.0, 1.0)
            )


def _draw_canal(canvas: Canvas, build: Build) -> None:
    """Draw the spinal canal: fat, fluid, the cord down to its end, and nerve roots below and beside it."""
    rng = canvas.rng
    middle = build.spine_y_mm + rng.uniform(7.5, 9.0)
    box = canvas.box((-400, middle - 14, -18), (400, middle + 14, 18))
    if box is None:
        return
    z, y, x = canvas.coordinates(box)
    ry, rx = rng.uniform(6.5, 8.5), rng.uniform(8.5, 11.0)
    out = ((y - middle) / ry) ** 2 + (x / rx) ** 2
    canvas.paint(out < 1.45, box, _S.VISCERAL_FAT)
    canvas.paint(out < 1.0, box, _S.SPINAL_FLUID)
    end = rng.uniform(-20.0, 30.0)
    thin = np.clip((z - end) / 25.0, 0.0, 1.0)
    cord = ((y - middle) / (4.2 * thin + 1e-3)) ** 2 + (x / (5.2 * thin + 1e-3)) ** 2
    canvas.paint(cord < 1.0, box, _S.SPINAL_CORD)
    for _ in range(int(rng.integers(6, 14))):
        at, wide = rng.uniform(-2, 5), rng.uniform(-6, 6)
        root = [(end + 25, middle, 0.4 * wide), (end - 30, middle + at, wide), (-250, middle + at, wide)]
        canvas.draw([canvas.path(root, rng.uniform(0.5, 0.9))], _S.SPINAL_CORD, (_S.SPINAL_FLUID,))
    for number in range(-6, 5):
        for side in (-1.0, 1.0):  # nerves through the foramina
            low = number * _PITCH_MM + 6.0
            nerve = [
                (low + 6, middle, side * 7),
                (low, middle - 3, side * 17),
                (low - 14, middle - 8, side * 30),
            ]
            canvas.draw([canvas.path(nerve, [1.5, 2.6, 1.5])], _S.MUSCLE, (_S.VISCERAL_FAT, _S.SPINAL_FLUID))


def _draw_ribs(canvas: Canvas, build: Build) -> None:
    """Draw the lower ribs inside the muscle wall, their cartilage at the front, and the iliac wings."""
    rng = canvas.rng
    over = (*_SOFT, _S.SUBCUTANEOUS_FAT)
    steep = rng.uniform(0.75, 1.15)
    deep = build.fat_mm + 0.55 * build.wall_mm
    for number in range(6):  # 12th rib first
        top = 44.0 + _PITCH_MM * 0.78 * number
        reach = (rng.uniform(0.55, 0.95), rng.uniform(1.2, 1.7), 2.2, 2.5, 2.7, 2.8)[number]
        for side in (-1.0, 1.0):
            angles = np.linspace(0.42, reach, 12)  # from the spine (0) round the flank to the front (π)
            drop = steep * (28.0 * np.sin(np.minimum(angles, 1.57)) + 42.0 * np.clip(angles - 0.6, 0, None))
            drop -= 30.0 * np.clip(angles - 2.0, 0, None)
            scale = np.abs(np.sin(angles)) ** build.power + np.abs(np.cos(angles)) ** build.power
            scale = scale ** (-1 / build.power)
            y = (build.half_depth_mm - deep) * np.cos(angles) * scale + build.middle_y_mm
            x = side * (build.half_width_mm - deep) * np.sin(angles) * scale
            y = np.where(angles < 0.8, np.minimum(y, build.spine_y_mm + 23 + 60 * (angles - 0.3)), y)
            spine = (top, build.spine_y_mm + 6.0, side * (build.spine_x_mm + 2.0))
            points = [spine, *zip(top - drop, y, x, strict=True)]
            if canvas.box(np.min(points, axis=0), np.max(points, axis=0)) is None:
                continue
            rib = canvas.path(points, [4.5, *np.linspace(4.2, 3.4, 12)])
            bony = int(len(rib.points_mm) * (0.78 if number > 2 else 1.0))
            _bone(
                canvas,
                Segment(rib.points_mm[:bony], rib.radius_mm[:bony]),
                rng.uniform(0.9, 1.5),
                (1.7, 1.0, 1.0),
            )
            tip = Segment(rib.points_mm[bony - 1 :], rib.radius_mm[bony - 1 :])
            canvas.draw([tip], _S.CARTILAGE, over, (1.7, 1.0, 1.0))
    for side in (-1.0, 1.0):
        crest = rng.uniform(-125.0, -105.0)
        for step in range(8):
            low = crest - 11.0 * step
            line = [
                (low, 38 - step, side * (62 - 2 * step)),
                (low, 22, side * (92 + step)),
                (low - 4, -25 - 3 * step, side * 116),
            ]
            _bone(canvas, canvas.path(line, [6.5, 4.5, 5.0]), 1.5, (1.6, 1.0, 1.0))
