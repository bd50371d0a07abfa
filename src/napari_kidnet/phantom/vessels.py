"""The kidneys' vessels and collecting system, grown into any volume that holds a kidney and great vessels.

Drawn anatomy and the label maps of real people go through the same functions; see ``grow_renal_vessels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cc3d
import numpy as np

from napari_kidnet.phantom.collecting import ARTERY, COLLECTING, TISSUE, URETER, VEIN, draw_collecting
from napari_kidnet.phantom.hilum import Kidney, Side, find_kidney, lookup
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tree import TreeSettings, grow_tree, moved, spread, unit
from napari_kidnet.phantom.tubes import Segment, draw_segments, path_through

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Segment",
    "Side",
    "TreeSettings",
    "draw_segments",
    "grow_renal_vessels",
    "grow_tree",
    "path_through",
]

_S = Structure


@dataclass(frozen=True, slots=True)
class _Great:
    """A great vessel's course: level z (k,), middle (k, 3), half widths (k,) along y and x, all in mm."""

    z_mm: NDArray[np.float64]
    middle_mm: NDArray[np.float64]
    half_y_mm: NDArray[np.float64]
    half_x_mm: NDArray[np.float64]

    def at(self, z_mm: float) -> tuple[NDArray[np.float64], float, float]:
        """Return middle (3,), half width along y and along x at the nearest level that the vessel has."""
        i = int(np.argmin(np.abs(self.z_mm - z_mm)))
        return self.middle_mm[i], float(self.half_y_mm[i]), float(self.half_x_mm[i])


def grow_renal_vessels(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    side: Side,
    rng: np.random.Generator,
    *,
    artery: bool = True,
    vein: bool = True,
    collecting: bool = True,
    kidney: Kidney | None = None,
) -> None:
    """Grow one kidney's artery, vein and collecting system into a volume, in place.

    The artery leaves the aorta (on the right behind the vena cava), the vein reaches the vena cava (on the
    left in front of the aorta), the ureter runs down in front of the psoas. What has no counterpart in the
    volume (no kidney, no aorta, no vena cava) is left out. Every voxel drawn is connected to its origin.

    Parameters
    ----------
    structures : uint8 array (z, y, x)
        Volume of ``Structure`` ids; changed in place.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    side : {"left", "right"}
        The patient's side.
    rng : numpy Generator
        Source of all randomness.
    artery, vein, collecting : bool
        What to grow.
    kidney : Kidney, optional
        The kidney's place, where most of it lies outside of the volume; found in the volume otherwise.
    """
    aorta = _course(structures, spacing, (_S.AORTA, _S.PLAQUE))
    cava = _course(structures, spacing, (_S.VENA_CAVA,))
    great = aorta or cava
    if great is not None:
        towards = great.middle_mm.mean(axis=0)
    else:
        towards = 0.5 * np.array(structures.shape) * spacing
    kidney = kidney or find_kidney(structures, spacing, side, towards)
    if kidney is None:
        return
    targets = spread(kidney.shell_mm, int(rng.integers(24, 56)), rng)
    tree_seed = int(rng.integers(2**31))  # one seed for both trees: veins run beside arteries
    settings = TreeSettings(
        murray_exponent=float(rng.uniform(2.7, 3.0)),
        tortuosity=float(rng.uniform(0.06, 0.18)),
        jitter_mm=float(rng.uniform(0.6, 1.8)),
    )
    forward = rng.uniform(2.0, 5.0)
    before = structures.copy()
    if artery and aorta is not None:
        for trunk, branches in _arteries(kidney, aorta, cava, side, targets, tree_seed, settings, rng):
            draw_segments(structures, spacing, branches, ARTERY[side], over=TISSUE)
            draw_segments(structures, spacing, [trunk], ARTERY[side], over=[*TISSUE, _S.VENA_CAVA])
    if vein and cava is not None:
        _draw_veins(
            structures, spacing, (kidney, aorta, cava, side), (targets, tree_seed, settings, forward), rng
        )
    if collecting:
        draw_collecting(structures, spacing, kidney, side, rng)
        _keep_connected(structures, before, COLLECTING[side], ())
        _keep_connected(structures, before, URETER[side], (COLLECTING[side],))
    if artery:
        _keep_connected(structures, before, ARTERY[side], (_S.AORTA, _S.PLAQUE))
    if vein:
        _keep_connected(structures, before, VEIN[side], (_S.VENA_CAVA,))


def _arteries(
    kidney: Kidney,
    aorta: _Great,
    cava: _Great | None,
    side: Side,
    targets: NDArray[np.float64],
    tree_seed: int,
    settings: TreeSettings,
    rng: np.random.Generator,
) -> list[tuple[Segment, list[Segment]]]:
    """Return the main artery, and in a third of kidneys an accessory one, each as trunk and branches."""
    radius = float(np.clip(rng.normal(2.95 if side == "left" else 2.85, 0.4), 2.0, 4.0))
    groups = [(targets, radius, 0.0)]
    if rng.random() < 0.337:
        pole = 1.0 if rng.random() < 0.4 else -1.0  # more often to the lower pole
        order = np.argsort(-pole * (targets @ kidney.along), kind="stable")
        few = max(2, round(len(targets) * rng.uniform(0.12, 0.35)))
        share = (few / len(targets)) ** (1.0 / settings.murray_exponent)
        groups = [(targets[order[few:]], radius, 0.0), (targets[order[:few]], max(0.8, radius * share), pole)]
    result = []
    for number, (goals, r, pole) in enumerate(groups):
        hilum = kidney.hilum_mm + rng.normal(0.0, 1.5, 3) + pole * kidney.along * rng.uniform(4.0, 14.0)
        level = hilum[0] + rng.uniform(-4.0, 18.0) + pole * rng.uniform(5.0, 22.0)
        course = _artery_course(aorta, cava, side, hilum, level, r, rng)
        tree_rng = np.random.default_rng(tree_seed + number)
        if rng.random() < 0.37 and len(goals) > 3:  # it divides before the hilum
            trunk, branches = _divided(course, kidney, goals, r, tree_rng, settings)
        else:
            trunk = path_through(course, r)
            branches = grow_tree(course[-1], unit(kidney.sinus_mm - course[-1]), goals, r, tree_rng, settings)
        result.append((trunk, branches))
    return result


def _artery_course(
    aorta: _Great,
    cava: _Great | None,
    side: Side,
    hilum: NDArray[np.float64],
    level: float,
    radius: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the trunk's waypoints (k, 3) in mm from inside the aorta to the hilum."""
    middle, half_y, half_x = aorta.at(level)
    out = 1.0 if side == "left" else -1.0
    start = moved(middle, 0.0, 0.0, out * 0.5 * half_x)
    wall = moved(middle, 0.0, rng.uniform(-0.2, 0.3) * half_y, out * (half_x + radius))
    points = [start, wall]
    if side == "right" and cava is not None:
        for share in (-0.8, 0.0, 0.8):  # from its left edge to its right
            at_z = level + (hilum[0] - level) * (0.3 - 0.15 * share)
            vein, vein_y, vein_x = cava.at(at_z)
            behind = vein[1] + vein_y * np.sqrt(1.0 - 0.8 * share**2) + radius + 2.0
            point = np.array([at_z, behind, vein[2] - share * vein_x])
            # Only what leads on from the aorta to the kidney: vessels of real people may touch.
            if hilum[2] + 2.0 < point[2] < points[-1][2] - 1.0:
                points.append(point)
    last = points[-1]
    for share in (0.35, 0.7):
        points.append(last + share * (hilum - last) + rng.normal(0.0, 0.05 * np.linalg.norm(hilum - last), 3))
    points.append(hilum)
    return np.stack(points)


def _divided(
    course: NDArray[np.float64],
    kidney: Kidney,
    targets: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
    settings: TreeSettings,
) -> tuple[Segment, list[Segment]]:
    """Return a trunk that ends before the hilum, and branches of which two pass through it."""
    trunk = path_through(course[:-1], radius)
    fork = trunk.points_mm[-1]
    order = np.argsort(targets @ kidney.along, kind="stable")
    cut = int(np.clip(round(len(targets) * rng.uniform(0.3, 0.7)), 1, len(targets) - 1))
    branches: list[Segment] = []
    for part, way in ((targets[order[:cut]], -1.0), (targets[order[cut:]], 1.0)):
        r = radius * (len(part) / len(targets)) ** (1.0 / settings.murray_exponent)
        gate = course[-1] + way * kidney.along * rng.uniform(2.0, 6.0)
        branches.append(path_through(np.stack([fork, 0.5 * (fork + gate) + rng.normal(0, 1.0, 3), gate]), r))
        branches += grow_tree(gate, unit(kidney.sinus_mm - gate), part, r, rng, settings)
    return trunk, branches


def _draw_veins(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    place: tuple[Kidney, _Great | None, _Great, Side],
    tree: tuple[NDArray[np.float64], int, TreeSettings, float],
    rng: np.random.Generator,
) -> None:
    """Draw the main vein, its tree beside the arteries, and stubs of gonadal and adrenal veins."""
    kidney, aorta, cava, side = place
    targets, tree_seed, settings, forward = tree
    radius = float(np.clip(rng.normal(5.0, 0.7), 3.6, 6.5)) * (1.0 if side == "left" else 0.9)
    hilum = moved(kidney.hilum_mm, rng.normal(0.0, 2.0), -forward, 0.0)
    level = hilum[0] + rng.uniform(-3.0, 14.0)
    into, into_y, into_x = cava.at(level)
    flat = float(rng.choice([1.0, rng.uniform(0.45, 0.9)]))
    if side == "left" and aorta is not None:
        points = [hilum]
        middle, half_y, half_x = aorta.at(level)
        front = middle[1] - half_y - radius * flat - rng.uniform(0.3, 3.0)
        points.append(
            np.array(
                [
                    hilum[0] + 0.6 * (level - hilum[0]),
                    0.5 * (hilum[1] + front),
                    0.55 * middle[2] + 0.45 * hilum[2],
                ]
            )
        )
        points += [
            np.array([level, front + 0.25 * half_y * abs(s), middle[2] + s * half_x])
            for s in (0.8, 0.0, -0.7)
        ]
        points.append(moved(into, 0.0, -0.2 * into_y, 0.3 * into_x))
    else:
        out = 1.0 if side == "left" else -1.0
        wall = moved(into, 0.0, -0.1 * into_y, out * into_x)
        points = [hilum, 0.5 * (hilum + wall) + rng.normal(0.0, 1.5, 3), wall, into]
    course = np.stack(points)
    widen = np.linspace(1.0, rng.uniform(1.0, 1.3), len(course))
    over = [*TISSUE, _S.OTHER_VEIN]
    trunk = path_through(course, radius * widen)
    draw_segments(structures, spacing, [trunk], VEIN[side], over=over, flatten=(1.0, flat, 1.0))
    beside = targets + unit(rng.normal(0.0, 1.0, targets.shape)) * rng.uniform(1.0, 3.0, (len(targets), 1))
    main = np.random.default_rng(tree_seed)
    parts = [(hilum, beside, radius)]
    if rng.random() < 0.4 and len(beside) > 6:  # a second vein leaves the kidney and joins outside
        order = np.argsort(beside @ kidney.along, kind="stable")
        cut = round(len(beside) * rng.uniform(0.35, 0.65))
        gate = hilum + kidney.along * rng.uniform(6.0, 11.0) + rng.normal(0.0, 1.0, 3)
        share = 1.0 / settings.murray_exponent
        low, high = radius * (cut / len(beside)) ** share, radius * (1 - cut / len(beside)) ** share
        join = trunk.points_mm[min(len(trunk.points_mm) - 1, 7)]
        second = path_through(np.stack([join, 0.5 * (join + gate), gate]), high)
        draw_segments(structures, spacing, [second], VEIN[side], over=over)
        parts = [(hilum, beside[order[:cut]], low), (gate, beside[order[cut:]], high)]
    for root, goals, r in parts:
        branches = grow_tree(root, unit(kidney.sinus_mm - root), goals, r, main, settings)
        draw_segments(structures, spacing, branches, VEIN[side], over=over)
    if side == "left" and rng.random() < 0.7:
        root = trunk.points_mm[len(trunk.points_mm) // 2]
        for sign, chance in ((-1.0, 0.8), (1.0, 0.5)):
            if rng.random() < chance:
                tip = moved(root, sign * rng.uniform(20.0, 60.0), rng.normal(0, 4.0), rng.normal(0, 5.0))
                stub = path_through(
                    np.stack([root, 0.5 * (root + tip) + rng.normal(0, 2.0, 3), tip]), rng.uniform(0.8, 1.8)
                )
                draw_segments(structures, spacing, [stub], _S.OTHER_VEIN, over=TISSUE)


def _course(
    structures: NDArray[np.uint8], spacing: tuple[float, float, float], ids: tuple[int, ...]
) -> _Great | None:
    """Measure a great vessel slice by slice; None where it has no voxel."""
    z, y, x = np.nonzero(lookup(ids)[structures])
    if len(z) == 0:
        return None
    count = np.bincount(z, minlength=structures.shape[0]).astype(np.float64)
    levels = np.flatnonzero(count >= max(3.0, 0.2 * np.median(count[count > 0])))
    mean, half = [], []
    for axis, size in ((y, spacing[1]), (x, spacing[2])):
        first = np.bincount(z, axis, structures.shape[0])[levels] / count[levels]
        second = np.bincount(z, axis.astype(np.float64) ** 2, structures.shape[0])[levels] / count[levels]
        mean.append(first * size)
        half.append(
            2.0 * np.sqrt(np.maximum(second - first**2, 0.05)) * size
        )  # an ellipse's half axis is 2 SD
    return _Great(
        z_mm=levels.astype(np.float64) * spacing[0],
        middle_mm=np.stack([levels * spacing[0], *mean], axis=1),
        half_y_mm=half[0],
        half_x_mm=half[1],
    )


def _keep_connected(
    structures: NDArray[np.uint8], before: NDArray[np.uint8], structure: int, origins: tuple[int, ...]
) -> None:
    """Put back what was under pieces detached from their origin; without one, the largest stays."""
    drawn = structures == structure
    where = [np.flatnonzero(drawn.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(where[0]):
        return
    box = tuple(slice(max(0, w[0] - 1), w[-1] + 2) for w in where)
    part = lookup((structure, *origins))[structures[box]]
    labels = cc3d.connected_components(part, connectivity=26)
    kept = np.zeros(int(labels.max()) + 1, bool)
    if origins:
        kept[np.unique(labels[lookup(origins)[structures[box]]])] = True
    else:
        kept[1 + int(np.argmax(np.bincount(labels.ravel())[1:]))] = True
    kept[0] = False
    lost = drawn[box] & ~kept[labels]
    structures[box][lost] = before[box][lost]
