"""Aorta and vena cava, and the vessels that bear no label: mesenteric, portal, iliac, lumbar and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tree import TreeSettings, grow_tree, moved, unit
from napari_kidnet.phantom.tubes import Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.phantom.field import Canvas
    from napari_kidnet.phantom.torso import Build

__all__ = ["draw_great_vessels", "draw_other_vessels", "draw_plaques"]

_S = Structure
_FIXED = (_S.AIR, _S.SKIN, _S.SUBCUTANEOUS_FAT, _S.BONE_CORTICAL, _S.BONE_SPONGY, _S.DISC, _S.SPINAL_FLUID,
          _S.SPINAL_CORD)  # fmt: skip
_LABELLED = (_S.AORTA, _S.PLAQUE, _S.VENA_CAVA, _S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT,
             _S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT, _S.COLLECTING_LEFT, _S.COLLECTING_RIGHT,
             _S.URETER_LEFT, _S.URETER_RIGHT)  # fmt: skip
_SOFT = [int(s) for s in _S if s not in _FIXED and s not in (_S.LUNG, _S.BED)]
_BETWEEN = [s for s in _SOFT if s not in _LABELLED]
_LOOSE = (_S.VISCERAL_FAT, _S.BOWEL_WALL)


def draw_great_vessels(canvas: Canvas, build: Build) -> dict[str, NDArray[np.float64]]:
    """Draw aorta and vena cava with the iliac vessels; return their waypoints (k, 3) in body mm."""
    rng = canvas.rng
    fork = rng.uniform(-112.0, -88.0)  # fourth lumbar vertebra
    radius = float(np.clip(rng.normal(8.6, 1.3), 6.3, 11.5))
    ectatic = 1.0 + rng.uniform(0.2, 0.8) * (rng.random() < 0.06)
    gap = rng.uniform(0.5, 4.0)
    winding = rng.uniform(0.8, 3.0)
    levels = np.array([170.0, 110.0, 60.0, 25.0, -10.0, -45.0, -75.0, fork])
    wander = np.cumsum(rng.normal(0.0, winding, 8)) - 0.5 * winding
    x = rng.uniform(3.0, 13.0) + np.clip(0.5 * wander, -7.0, 9.0) + np.array([3, 2, 0, 0, 0, 0, -1, -4])
    taper = radius * np.array([1.15, 1.12, 1.08, 1.0, 0.93, 0.9 * ectatic, 0.88 * ectatic, 0.85])
    y = -build.spine_y_mm - gap - taper + np.clip(rng.normal(0.0, 1.0, 8), -1.5, 0.5)
    y[0] += 8.0
    aorta = np.stack([levels, y, x], axis=1)

    wide = rng.uniform(9.0, 13.0)
    flat = rng.uniform(0.4, 1.0)
    calibre = wide * rng.uniform(0.85, 1.15, 7) * np.array([1.2, 1.2, 1.1, 1.05, 0.95, 0.9, 0.85])
    levels = np.array([130.0, 80.0, 40.0, 10.0, -30.0, -70.0, fork - rng.uniform(5, 18)])
    # It keeps clear of the aorta, and leaves the spine upwards through the liver.
    least = np.interp(levels, aorta[::-1, 0], (aorta[:, 2] - taper)[::-1]) - calibre - rng.uniform(0.5, 5.0)
    x = np.minimum(least, -rng.uniform(15.0, 22.0)) + np.array([1.0, -1, 0, 0, 0, 0, 2])
    y = -build.spine_y_mm * 0.85 - calibre * flat - rng.uniform(1.0, 4.5) - np.array([24, 20, 7, 2, 1, 0, 0])
    cava = np.stack([levels, y, x], axis=1)

    vein, artery = canvas.path(cava, calibre, 0.5), canvas.path(aorta, taper, 0.4)
    collar = [Segment(s.points_mm, s.radius_mm + rng.uniform(0.8, 4.0)) for s in (vein, artery)]
    hold = [s for s in _SOFT if s not in (_S.MUSCLE, _S.PSOAS, _S.LIVER)]
    canvas.draw(collar[:1], _S.VISCERAL_FAT, hold, (1.0, flat, 1.0))
    canvas.draw(collar[1:], _S.VISCERAL_FAT, hold)
    _draw_iliac(canvas, aorta[-1], cava[-1], taper[-1])
    over = [*_SOFT, _S.BONE_CORTICAL, _S.LUNG]
    canvas.draw([vein], _S.VENA_CAVA, over, (1.0, flat, 1.0))
    oval = (1.0, rng.uniform(0.88, 1.06), rng.uniform(0.92, 1.08))
    canvas.draw([artery], _S.AORTA, over, oval)
    return {"aorta": aorta, "cava": cava, "aorta_radius": taper, "cava_radius": calibre}


def _draw_iliac(canvas: Canvas, fork: NDArray[np.float64], joint: NDArray[np.float64], radius: float) -> None:
    """Draw the common iliac arteries and veins below their forks."""
    rng = canvas.rng
    for side in (-1.0, 1.0):
        points = [
            fork,
            moved(fork, -25, -3, side * 16),
            moved(fork, -60, 6, side * 36),
            moved(fork, -120, 10, side * 56),
        ]
        canvas.draw([canvas.path(points, 0.62 * radius, 1.0)], _S.OTHER_ARTERY, _SOFT)
        wide = rng.uniform(5.0, 8.0)
        points = [
            joint,
            moved(joint, -22, 3, side * 15 + 5),
            moved(joint, -55, 10, side * 33 + 6),
            moved(joint, -115, 18, side * 52),
        ]
        canvas.draw(
            [canvas.path(points, wide, 1.0)], _S.OTHER_VEIN, [s for s in _SOFT if s != _S.OTHER_ARTERY]
        )


def draw_plaques(canvas: Canvas) -> None:
    """Put calcified plaques onto the aorta's wall in a fifth of people; some have many."""
    rng = canvas.rng
    if rng.random() > 0.25:
        return
    inside = canvas.structures == _S.AORTA
    flat = inside[:, 1:-1, 1:-1]
    deep = inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1] & inside[:, 1:-1, :-2] & inside[:, 1:-1, 2:]
    rim = np.argwhere(flat & ~deep) + np.array([0, 1, 1])
    if not len(rim):
        return
    for _ in range(int(rng.geometric(0.12))):
        place = rim[rng.integers(len(rim))] * np.asarray(canvas.spacing)
        end = place + rng.normal(0.0, (4.0, 0.8, 0.8))
        canvas.draw([Segment(np.stack([place, end]), rng.uniform(0.6, 2.2, 2))], _S.PLAQUE, (_S.AORTA,))


def draw_other_vessels(canvas: Canvas, build: Build, great: dict[str, NDArray[np.float64]]) -> None:
    """Draw coeliac, mesenteric, portal, splenic, hepatic, gonadal and lumbar vessels, which bear no label."""
    _draw_visceral_arteries(canvas, great)
    _draw_portal(canvas, build)
    _draw_hepatic(canvas, great)
    _draw_gonadal_and_lumbar(canvas, build, great)


def _draw_visceral_arteries(canvas: Canvas, great: dict[str, NDArray[np.float64]]) -> None:
    """Draw coeliac trunk with its branches, superior and inferior mesenteric artery."""
    rng = canvas.rng

    def front(z: float, share: float = 0.6) -> NDArray[np.float64]:
        course, r = great["aorta"][::-1], great["aorta_radius"][::-1]
        y, x = np.interp(z, course[:, 0], course[:, 1]), np.interp(z, course[:, 0], course[:, 2])
        return np.array([z, y - share * np.interp(z, course[:, 0], r), x])

    top = rng.uniform(24.0, 42.0)
    root = front(top)
    trunk = moved(root, 2, -22, -2)
    draw = canvas.draw
    draw(
        [canvas.path([root, moved(root, 3, -12, 0), trunk], rng.uniform(2.8, 4.2))], _S.OTHER_ARTERY, _BETWEEN
    )
    bends = rng.normal(0, 5.0, (3, 3))
    splenic = [
        trunk,
        moved(trunk, 4, 4, 22) + bends[0],
        moved(trunk, 6, 20, 48) + bends[1],
        moved(trunk, 12, 38, 80) + bends[2],
    ]
    draw([canvas.path(splenic, [2.8, 2.6, 2.4, 1.6], 1.5)], _S.OTHER_ARTERY, _BETWEEN)
    hepatic = [trunk, moved(trunk, -2, -4, -25), moved(trunk, 10, -10, -50), moved(trunk, 25, -8, -75)]
    draw([canvas.path(hepatic, [2.5, 2.3, 1.8, 1.0], 1.5)], _S.OTHER_ARTERY, _BETWEEN)
    root = front(top - rng.uniform(10.0, 18.0))
    steep = rng.uniform(10.0, 26.0)
    stem = [
        root,
        moved(root, -6, -10, 0),
        moved(root, -40, -10 - steep, -3),
        moved(root, -75, -14 - steep, -8),
    ]
    artery = canvas.path(stem, [3.8, 3.5, 3.0, 2.4])
    draw([artery], _S.OTHER_ARTERY, _BETWEEN)
    vein = [
        moved(root, 18, -25, -24),
        moved(root, -8, -24, -14),
        moved(root, -42, -14 - steep, -17),
        moved(root, -78, -16 - steep, -20),
    ]
    big = rng.uniform(4.0, 6.5)
    mesenteric = canvas.path(vein, [big, big, 0.9 * big, 0.7 * big], 1.0)
    draw([mesenteric], _S.PORTAL_VEIN, _BETWEEN)
    goals = np.array(stem[-1]) + rng.normal(0.0, 1.0, (60, 3)) * (42, 22, 55) + (-8, -20, 0)
    goals = canvas.to_scan(goals)
    settings = TreeSettings(tortuosity=0.15, jitter_mm=3.0)
    seed = int(rng.integers(2**31))
    for end, r, structure, shift in (
        (artery, 2.4, _S.OTHER_ARTERY, 0.0),
        (mesenteric, 0.7 * big, _S.PORTAL_VEIN, 4.0),
    ):
        tree = grow_tree(end.points_mm[-1], unit(end.points_mm[-1] - end.points_mm[-2]), goals + shift, r,
                         np.random.default_rng(seed), settings)  # fmt: skip
        draw(tree, structure, _LOOSE)
    root = front(-58.0)
    low = [root, moved(root, -12, -8, 8), moved(root, -45, -4, 26), moved(root, -90, -2, 40)]
    draw([canvas.path(low, [1.9, 1.8, 1.4, 1.0], 1.5)], _S.OTHER_ARTERY, _BETWEEN)


def _draw_portal(canvas: Canvas, build: Build) -> None:
    """Draw the splenic vein, the portal vein and its tree within the liver."""
    rng = canvas.rng
    front = -build.spine_y_mm
    joint = np.array([22.0, front - 36, -16.0]) + rng.normal(0, 3, 3)
    gate = moved(joint, 30, -4, -34)
    wide = rng.uniform(5.5, 8.0)
    splenic = [joint, moved(joint, 4, 2, 30), moved(joint, 10, 16, 62), moved(joint, 24, 34, 92)]
    canvas.draw(
        [canvas.path(splenic, [0.75 * wide, 0.7 * wide, 0.6 * wide, 2.0], 1.0)], _S.PORTAL_VEIN, _BETWEEN
    )
    portal = canvas.path([joint, 0.5 * (joint + gate), gate], wide)
    canvas.draw([portal], _S.PORTAL_VEIN, _BETWEEN)
    _draw_in_liver(canvas, portal.points_mm[-1], 0.7 * wide, _S.PORTAL_VEIN, 26)


def _draw_hepatic(canvas: Canvas, great: dict[str, NDArray[np.float64]]) -> None:
    """Draw the hepatic veins, which join the vena cava under the diaphragm."""
    root = canvas.to_scan(great["cava"][1][None])[0]
    for _ in range(3):
        _draw_in_liver(canvas, root, canvas.rng.uniform(3.0, 5.0), _S.OTHER_VEIN, 8)


def _draw_in_liver(
    canvas: Canvas, root: NDArray[np.float64], radius: float, structure: int, count: int
) -> None:
    """Grow a tree from a point (scan mm) into the liver."""
    rng = canvas.rng
    step = tuple(slice(None, None, max(1, round(5.0 / v))) for v in canvas.spacing)
    liver = np.argwhere(canvas.structures[step] == _S.LIVER)
    if len(liver) < count:
        return
    goals = (
        liver[rng.choice(len(liver), count, replace=False)]
        * [s.step for s in step]
        * np.asarray(canvas.spacing)
    )
    if structure == _S.OTHER_VEIN:  # each hepatic vein drains one part
        near = liver[rng.integers(len(liver))] * [s.step for s in step] * np.asarray(canvas.spacing)
        goals = near + 0.45 * (goals - near)
    tree = grow_tree(root, unit(goals.mean(axis=0) - root), goals, radius, rng, TreeSettings(jitter_mm=2.5))
    canvas.draw(tree, structure, (_S.LIVER, _S.VISCERAL_FAT))


def _draw_gonadal_and_lumbar(canvas: Canvas, build: Build, great: dict[str, NDArray[np.float64]]) -> None:
    """Draw gonadal veins in front of the psoas, lumbar arteries and veins round the vertebrae."""
    rng = canvas.rng
    for side in (-1.0, 1.0):
        top = (rng.uniform(-25, -5), -build.spine_y_mm - 6, side * rng.uniform(26, 34))
        line = [top, (-60, -22, side * 44), (-110, -30, side * 54), (-180, -45, side * 66)]
        canvas.draw([canvas.path(line, rng.uniform(0.8, 2.0), 1.5)], _S.OTHER_VEIN, (_S.VISCERAL_FAT,))
        line = [(p[0] + 2, p[1] - 3, p[2] - side * 3) for p in line]
        canvas.draw([canvas.path(line, rng.uniform(0.5, 0.9), 1.5)], _S.OTHER_ARTERY, (_S.VISCERAL_FAT,))
        round_x, back = build.spine_x_mm + 2.0, build.spine_y_mm
        for z in (-90.0, -54.0, -18.0, 18.0, 54.0):
            y = -build.spine_y_mm - 3.0
            line = [
                (z, y, side * 6),
                (z, -0.45 * back, side * (round_x - 3)),
                (z, 6, side * round_x),
                (z, 24, side * (round_x + 8)),
            ]
            over = [s for s in _BETWEEN if s not in (_S.OTHER_ARTERY, _S.OTHER_VEIN)]
            canvas.draw([canvas.path(line, rng.uniform(0.6, 1.1))], _S.OTHER_ARTERY, over)
            line = [(p[0] + 3, p[1], p[2]) for p in line]
            canvas.draw([canvas.path(line, rng.uniform(0.6, 1.3))], _S.OTHER_VEIN, over)
