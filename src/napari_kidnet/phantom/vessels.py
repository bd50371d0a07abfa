"""The kidneys' vessels and collecting system, grown into any volume that holds a kidney and great vessels.

Drawn anatomy and the label maps of real people go through the same functions; see ``grow_renal_vessels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cc3d
import numpy as np

from napari_kidnet.phantom.hilum import Kidney, Side, find_kidney, lookup
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tree import TreeSettings, grow_tree, unit
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
ARTERY: Final[dict[Side, int]] = {"left": _S.RENAL_ARTERY_LEFT, "right": _S.RENAL_ARTERY_RIGHT}
VEIN: Final[dict[Side, int]] = {"left": _S.RENAL_VEIN_LEFT, "right": _S.RENAL_VEIN_RIGHT}
COLLECTING: Final[dict[Side, int]] = {"left": _S.COLLECTING_LEFT, "right": _S.COLLECTING_RIGHT}
URETER: Final[dict[Side, int]] = {"left": _S.URETER_LEFT, "right": _S.URETER_RIGHT}

_VESSELS = {
    *ARTERY.values(), *VEIN.values(), *COLLECTING.values(), *URETER.values(),
    _S.AORTA, _S.PLAQUE, _S.OTHER_ARTERY, _S.VENA_CAVA, _S.PORTAL_VEIN, _S.OTHER_VEIN,
}  # fmt: skip
_TISSUE = [int(s) for s in Structure if s not in _VESSELS and s not in (_S.AIR, _S.BED, _S.SKIN)]
_REACH_MM = 60.0  # great vessels are measured this far above and below the hilum


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
    targets = _spread(kidney.shell_mm, int(rng.integers(24, 56)), rng)
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
            draw_segments(structures, spacing, branches, ARTERY[side], over=_TISSUE)
            draw_segments(structures, spacing, [trunk], ARTERY[side], over=[*_TISSUE, _S.VENA_CAVA])
    if vein and cava is not None:
        _draw_veins(
            structures, spacing, (kidney, aorta, cava, side), (targets, tree_seed, settings, forward), rng
        )
    if collecting:
        _draw_collecting(structures, spacing, kidney, side, rng)
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
    start = _moved(middle, 0.0, 0.0, out * 0.5 * half_x)
    wall = _moved(middle, 0.0, rng.uniform(-0.2, 0.3) * half_y, out * (half_x + radius))
    points = [start, wall]
    if side == "right" and cava is not None:
        for share in (-0.8, 0.0, 0.8):  # from its left edge to its right
            at_z = level + (hilum[0] - level) * (0.3 - 0.15 * share)
            vein, vein_y, vein_x = cava.at(at_z)
            behind = vein[1] + vein_y * np.sqrt(1.0 - 0.8 * share**2) + radius + 1.2
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
    hilum = _moved(kidney.hilum_mm, rng.normal(0.0, 2.0), -forward, 0.0)
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
        points.append(_moved(into, 0.0, -0.2 * into_y, 0.3 * into_x))
    else:
        out = 1.0 if side == "left" else -1.0
        wall = _moved(into, 0.0, -0.1 * into_y, out * into_x)
        points = [hilum, 0.5 * (hilum + wall) + rng.normal(0.0, 1.5, 3), wall, into]
    course = np.stack(points)
    widen = np.linspace(1.0, rng.uniform(1.0, 1.3), len(course))
    over = [*_TISSUE, _S.OTHER_VEIN]
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
                tip = _moved(root, sign * rng.uniform(20.0, 60.0), rng.normal(0, 4.0), rng.normal(0, 5.0))
                stub = path_through(
                    np.stack([root, 0.5 * (root + tip) + rng.normal(0, 2.0, 3), tip]), rng.uniform(0.8, 1.8)
                )
                draw_segments(structures, spacing, [stub], _S.OTHER_VEIN, over=_TISSUE)


def _draw_collecting(
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
    thick = rng.uniform(2.6, 5.0) * wide
    radii = np.array([0.7 * thick, thick, 0.6 * thick, 2.0])
    pelvis = path_through(
        np.stack([heart, mouth, 0.5 * (mouth + junction) + kidney.outward, junction]), radii, 1.0
    )
    over = [*_TISSUE, _S.OTHER_VEIN]
    draw_segments(structures, spacing, [pelvis], COLLECTING[side], over=over)
    # A core of urine passes through whatever vessel lies across, or the ureter would hang in the air.
    core = Segment(pelvis.points_mm, np.full(len(pelvis.points_mm), 1.0))
    draw_segments(structures, spacing, [core], COLLECTING[side], over=[*over, ARTERY[side], VEIN[side]])

    papillae = _spread(kidney.papillae_mm, int(rng.integers(7, 12)), rng)
    majors = np.array_split(np.argsort(papillae @ kidney.along, kind="stable"), int(rng.integers(2, 4)))
    for group in majors:
        neck = heart + 0.5 * (papillae[group].mean(axis=0) - heart)
        stem = path_through(
            np.stack([heart, 0.5 * (heart + neck) + rng.normal(0, 0.8, 3), neck]),
            rng.uniform(1.5, 2.5) * wide,
        )
        calyces = [stem]
        for tip in papillae[group]:
            r, cup = rng.uniform(1.0, 1.8) * wide, rng.uniform(1.9, 3.0) * wide
            bend = 0.5 * (neck + tip) + rng.normal(0, 0.8, 3)
            calyces.append(
                path_through(
                    np.stack([neck, bend, neck + 0.8 * (tip - neck), tip]), np.array([r, r, r, cup]), 1.0
                )
            )
        draw_segments(structures, spacing, calyces, COLLECTING[side], over=over)
    ureter = _ureter(structures, spacing, junction, side, rng)
    draw_segments(structures, spacing, [ureter], URETER[side], over=over)
    first = Segment(ureter.points_mm[:12], np.minimum(ureter.radius_mm[:12], 0.8))
    draw_segments(structures, spacing, [first], URETER[side], over=[*over, ARTERY[side], VEIN[side]])


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
            points.append(_moved(bladder, 5.0, 10.0, out * 12.0))
            break
        found = _psoas_front(structures, spacing, z, middle, out)
        if found is None:
            goal = np.array([z, points[-1][1] + rng.normal(0, 1.5), points[-1][2] + rng.normal(0, 1.5)])
        else:
            goal = np.array([z, found[0] - base - 1.0, 0.6 * found[1] + 0.4 * drift])
        step = goal[1:] - points[-1][1:]
        goal[1:] = points[-1][1:] + step * min(
            1.0, 7.0 / max(np.linalg.norm(step), 1e-6)
        )  # it never leaps sideways
        points.append(_moved(goal, 0.0, *rng.normal(0.0, 0.8, 2)))
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
    near = np.abs(x - x.mean()) < max(2.0, 5.0 / spacing[2])
    return float(y[near].min() * spacing[1]), float(x.mean() * spacing[2])


def _moved(point_mm: NDArray[np.float64], z: float, y: float, x: float) -> NDArray[np.float64]:
    """Return a point moved by (z, y, x) mm."""
    return point_mm + np.array([z, y, x])


def _mean_of(
    structures: NDArray[np.uint8], spacing: tuple[float, float, float], structure: int
) -> NDArray[np.float64] | None:
    """Return the middle (3,) in mm of a structure, or None where there is none."""
    where = np.argwhere(structures == structure)
    return where.mean(axis=0) * np.asarray(spacing) if len(where) else None


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
        z_mm=levels * spacing[0],
        middle_mm=np.stack([levels * spacing[0], *mean], axis=1),
        half_y_mm=half[0],
        half_x_mm=half[1],
    )


def _spread(points: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Choose points (count, 3) that lie far from each other, at random among many."""
    pool = points[rng.integers(len(points), size=min(len(points), 30 * count))]
    chosen = [pool[0]]
    nearest = np.linalg.norm(pool - pool[0], axis=1)
    while len(chosen) < min(count, len(pool)):
        # Not the very farthest: an even lattice of vessels is no kidney's.
        best = pool[rng.choice(np.argsort(nearest)[-max(3, len(pool) // 20) :])]
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(pool - best, axis=1))
    return np.stack(chosen)


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
