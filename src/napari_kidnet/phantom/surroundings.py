"""What label maps lack around the kidneys: body wall, fat, table, bowel content, other vessels, nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from napari_kidnet.phantom.splines import smooth_field
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tubes import Segment, draw_segments, path_through

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.phantom.anatomy_map import PulledMap

__all__ = ["add_body", "add_bowel", "add_small_vessels", "add_wall_findings", "sample_points"]

_S = Structure
_FAT: Final = (_S.VISCERAL_FAT,)
_CONTENTS: Final = (
    (_S.BOWEL_FLUID, 0.26),
    (_S.BOWEL_STOOL, 0.2),
    (_S.BOWEL_GAS, 0.24),
    (_S.BOWEL_CONTRAST, 0.08),
    (_S.BOWEL_CHYME, 0.22),
)


def sample_points(
    mask: NDArray[np.bool_], count: int, rng: np.random.Generator, spacing: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return up to ``count`` random points (n, 3) of a mask (z, y, x), in mm."""
    found = np.flatnonzero(mask)
    if not len(found):
        return np.zeros((0, 3))
    chosen = rng.choice(found, min(count, len(found)), replace=False)
    points: NDArray[np.float64] = np.stack(np.unravel_index(chosen, mask.shape), -1) * np.asarray(spacing)
    return points


def add_body(
    structures: NDArray[np.uint8], pulled: PulledMap, fat_mm: float, rng: np.random.Generator
) -> None:
    """Fill the body between the map's structures and lay wall, fat, skin and table about it, in place.

    Parameters
    ----------
    structures : uint8 array (z, y, x)
        0 where the map has nothing.
    pulled : PulledMap
        The pulled map; its hull decides what is inside.
    fat_mm : float
        Mean thickness of the fat under the skin.
    rng : numpy.random.Generator
    """
    hull, spacing = pulled.hull, pulled.spacing
    shape = structures.shape
    empty = structures == 0
    canal_y = _mean_row(structures == _S.SPINAL_FLUID, shape[1] * 0.65)
    front = np.clip((canal_y + 30 / spacing[1] - np.arange(shape[1])) * spacing[1] / 40, 0, 1)[None, :, None]
    front = front.astype(np.float32)
    shell = empty[:, : int(canal_y)] | (structures[:, : int(canal_y)] == _S.MUSCLE)
    shell &= (hull[:, : int(canal_y)] < -1) & (hull[:, : int(canal_y)] > -10)
    has_wall = shell.any() and float((structures[:, : int(canal_y)][shell] == _S.MUSCLE).mean()) > 0.3

    uneven = smooth_field(rng, shape, spacing, (90.0, 70.0, 70.0))
    wall = float(rng.uniform(6, 13)) * (1 + 0.25 * uneven)
    wall = np.maximum(wall, 3)
    outer = np.where(has_wall, 0.0, wall * front + 2.0)  # where muscles go on outside of the hull
    inner = np.where(has_wall, -0.75 * wall, -1.0)
    # More fat behind and at the flanks than in front, or the reverse (a belly).
    tilt = float(rng.uniform(-0.35, 0.35))
    rows = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    fold = smooth_field(rng, shape, spacing, 150.0)
    fat = np.maximum(fat_mm * (1 + tilt * rows + 0.18 * fold), 2.5)

    structures[empty & (hull <= inner)] = _S.VISCERAL_FAT
    in_wall = empty & (hull > inner) & (hull <= outer)
    structures[in_wall] = _S.MUSCLE
    # Fat planes between the muscles of the wall.
    apart = float(rng.uniform(4.5, 9.0))
    if rng.random() < 0.7:
        planes = in_wall & (np.abs(uneven * 6 + hull) % apart < 0.8)
        structures[planes] = _S.SUBCUTANEOUS_FAT
    structures[empty & (hull > outer) & (hull <= outer + fat)] = _S.SUBCUTANEOUS_FAT
    skin = float(rng.uniform(1.4, 2.4))
    structures[empty & (hull > outer + fat) & (hull <= outer + fat + skin)] = _S.SKIN
    if not has_wall:
        _add_back_muscles(structures, spacing, rng)
    _add_table(structures, spacing, rng)
    _shell_bones(structures, pulled, rng)


def _add_back_muscles(
    structures: NDArray[np.uint8], spacing: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Draw the quadratus lumborum on both sides where a map has no muscles of the wall, in place."""
    canal = sample_points(
        structures[::3, ::3, ::3] == _S.SPINAL_FLUID,
        4000,
        rng,
        (3 * spacing[0], 3 * spacing[1], 3 * spacing[2]),
    )
    if len(canal) < 50:
        return
    levels = np.linspace(canal[:, 0].min(), canal[:, 0].max(), 7)
    middle = np.array([canal[np.abs(canal[:, 0] - level) < 20].mean(0) for level in levels])
    middle[:, 0] = levels
    middle[0, 0], middle[-1, 0] = -5.0, structures.shape[0] * spacing[0] + 5.0
    off, radius = float(rng.uniform(52, 60)), float(rng.uniform(8, 12))
    for side in (-1, 1):
        shift = np.array([0, rng.uniform(-6, 2), side * off])
        column = path_through(middle + shift, np.linspace(1.2, 0.6, 7) * radius)
        draw_segments(structures, spacing, [column], _S.MUSCLE, over=_FAT, flatten=(1.0, 0.75, 1.5))


def _mean_row(mask: NDArray[np.bool_], otherwise: float) -> float:
    rows = mask.any((0, 2))
    return float(np.flatnonzero(rows).mean()) if rows.any() else otherwise


def _add_table(
    structures: NDArray[np.uint8], spacing: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Draw the table's two shells behind the back, in place."""
    body = (structures != 0).any(0)
    columns = slice(int(structures.shape[2] * 0.4), int(structures.shape[2] * 0.6))
    below = np.flatnonzero(body[:, columns].any(1))
    if not len(below):
        return
    back = below.max() * spacing[1] + float(rng.uniform(1, 9))
    y = (np.arange(structures.shape[1]) * spacing[1])[:, None]
    x = (np.arange(structures.shape[2]) - structures.shape[2] / 2)[None] * spacing[2]
    sag = float(rng.uniform(300, 900))
    for offset, thick in ((0.0, rng.uniform(1.5, 3.0)), (rng.uniform(12, 40), rng.uniform(1.5, 3.0))):
        top = back + offset - x**2 / (2 * sag)
        arc = (y >= top) & (y < top + thick) & (np.abs(x) < 215)
        place = np.nonzero(arc)
        column = structures[:, place[0], place[1]]
        structures[:, place[0], place[1]] = np.where(column == _S.AIR, np.uint8(_S.BED), column)


def _shell_bones(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Turn the outer layer of bones into cortical bone, and the canal's inside into cord, in place."""
    bone = np.flatnonzero(structures == _S.BONE_SPONGY)
    shell = float(rng.uniform(1.0, 2.2))
    thin = pulled.depth.ravel()[bone] < shell
    structures.ravel()[bone[thin]] = _S.BONE_CORTICAL
    canal = np.flatnonzero(structures == _S.SPINAL_FLUID)
    core = pulled.depth.ravel()[canal] > float(rng.uniform(2.6, 4.2))
    structures.ravel()[canal[core]] = _S.SPINAL_CORD


def add_bowel(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Give the bowel walls and content by random stretches, and put more loops into the fat, in place."""
    spacing = pulled.spacing
    _add_loops(structures, pulled, rng)
    found = np.flatnonzero(pulled.structures == _S.BOWEL_FLUID)
    if not len(found):
        return
    wall = float(rng.uniform(1.4, 3.0))
    deep = pulled.depth.ravel()[found] > wall
    structures.ravel()[found[~deep]] = _S.BOWEL_WALL
    inside = found[deep]
    if not len(inside):
        return
    z, y, x = np.unravel_index(inside, structures.shape)
    points = np.stack([z * spacing[0], y * spacing[1], x * spacing[2]], -1).astype(np.float32)
    count = int(np.clip(len(inside) * np.prod(spacing) / 20_000, 4, 60))
    seeds = points[rng.choice(len(points), count, replace=False)]
    stretch = cKDTree(seeds).query(points, workers=1)[1]
    content = rng.choice([int(s) for s, _ in _CONTENTS], count, p=_mixture(rng))
    filled = content[stretch].astype(np.uint8)
    # Gas lies in front: each stretch has its level, under which there is fluid, stool or chyme.
    for number in np.flatnonzero(content == _S.BOWEL_GAS):
        here = np.flatnonzero(stretch == number)
        if not len(here):
            continue
        level = np.quantile(points[here, 1], rng.uniform(0.35, 1.0))
        under = rng.choice(
            [_S.BOWEL_FLUID, _S.BOWEL_STOOL, _S.BOWEL_CHYME, _S.BOWEL_CONTRAST], p=[0.4, 0.3, 0.2, 0.1]
        )
        filled[here[points[here, 1] > level]] = under
    structures.ravel()[inside] = filled


def _mixture(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a scan's own mixture of bowel contents: some are full of gas, some of contrast."""
    return rng.dirichlet([6 * share + 0.05 for _, share in _CONTENTS])


def _add_loops(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Draw further loops of small bowel into the fat in front of the kidneys, in place."""
    spacing = np.asarray(pulled.spacing)
    kidney = pulled.sides > 0
    front = _mean_row(kidney, structures.shape[1] * 0.55) - 25 / spacing[1]
    coarse = (slice(None, None, 3),) * 3
    rows = np.arange(structures.shape[1])[::3][None, :, None]
    great = np.isin(structures[coarse], [_S.AORTA, _S.VENA_CAVA]).any((0, 2))
    if great.any():
        front = min(front, float(np.flatnonzero(great).min()) * 3 - 3 / spacing[1])
    abdomen = structures[:, : max(1, int(front + 8 / spacing[1]))]  # behind it no bowel lies free
    free = (structures[coarse] == _S.VISCERAL_FAT) & (pulled.hull[coarse] < -14) & (rows < front)
    litres = float(free.sum()) * 27 * float(np.prod(spacing)) / 1e6
    for _ in range(int(rng.integers(0, 2 + int(14 * min(litres, 1.5))))):
        start = sample_points(free, 1, rng, tuple(3 * spacing))
        if not len(start):
            return
        steps = int(rng.integers(3, 9))
        turns = rng.normal(0, 14, (steps, 3)) * (0.6, 0.6, 1.0)
        way = np.vstack([start, start + np.cumsum(turns, 0)])
        radius = float(rng.uniform(7, 13))
        outer = path_through(way, rng.uniform(0.8, 1.1, len(way)) * radius)
        wall = min(float(rng.uniform(1.6, 3.0)), 0.5 * radius)
        content = int(rng.choice([int(s) for s, _ in _CONTENTS], p=_mixture(rng)))
        draw_segments(abdomen, pulled.spacing, [outer], _S.BOWEL_WALL, over=_FAT)
        inner = Segment(outer.points_mm, outer.radius_mm - wall)
        draw_segments(abdomen, pulled.spacing, [inner], content, over=(_S.BOWEL_WALL,))


def add_small_vessels(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Draw vessels that are not the kidneys' and lymph nodes: not every bright tube is renal. In place."""
    spacing = pulled.spacing
    coarse = (slice(None, None, 2),) * 3
    wide = (2 * spacing[0], 2 * spacing[1], 2 * spacing[2])
    small = structures[coarse]
    fat = small == _S.VISCERAL_FAT
    litres = float(fat.sum()) * float(np.prod(wide)) / 1e6
    bowel = (small == _S.BOWEL_WALL) | (small == _S.PANCREAS)
    # Mesentery: artery and vein side by side from somewhere in the fat to the bowel.
    roots = sample_points(fat, int(18 + 45 * litres), rng, wide)
    ends = sample_points(bowel if bowel.any() else fat, 600, rng, wide)
    for root in roots:
        away = np.linalg.norm(ends - root, axis=1)
        near = np.flatnonzero((away > 15) & (away < 75))
        end = ends[rng.choice(near)] if len(near) else root + rng.normal(0, 25, 3)
        way = _wander(root, end, rng)
        calibre = float(rng.uniform(0.8, 2.6))
        taper = np.linspace(1.0, 0.5, len(way))
        vein = path_through(way, calibre * taper)
        draw_segments(structures, spacing, [vein], _S.OTHER_VEIN, over=_FAT)
        beside = path_through(way + rng.normal(0, 1, 3) * 0.8 + (0, 0, 1.8 * calibre), 0.65 * calibre * taper)
        draw_segments(structures, spacing, [beside], _S.OTHER_ARTERY, over=_FAT)
    # Nodes: even ellipsoids of 30 to 90 HU, which is what chyme has.
    for centre in sample_points(fat, int(6 + 14 * litres), rng, wide):
        radius = float(rng.uniform(1.5, 5.5))
        node = path_through(np.stack([centre, centre + rng.normal(0, radius, 3)]), radius)
        draw_segments(structures, spacing, [node], _S.BOWEL_CHYME, over=_FAT)
    _vessels_within(structures, pulled, rng)
    _vessels_of_wall(structures, pulled, rng)


def _wander(
    start: NDArray[np.float64], end: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return five waypoints (5, 3) from start to end with random bends, in mm."""
    t = np.linspace(0, 1, 5)[:, None]
    bend = rng.normal(0, 0.1 * np.linalg.norm(end - start) + 1, (5, 3)) * np.sin(np.pi * t)
    way: NDArray[np.float64] = start + t * (end - start) + bend
    return way


def _vessels_within(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Draw portal and hepatic veins in the liver and veins in the spleen, in place."""
    spacing = pulled.spacing
    wide = (3 * spacing[0], 3 * spacing[1], 3 * spacing[2])
    for organ, count, veins in (
        (_S.LIVER, 34, (_S.PORTAL_VEIN, _S.OTHER_VEIN)),
        (_S.SPLEEN, 8, (_S.OTHER_VEIN,)),
    ):
        mask = structures[::3, ::3, ::3] == organ
        if mask.sum() < 400:
            continue
        ends = sample_points(mask, count, rng, wide)
        hilum = sample_points(mask, len(veins), rng, wide) * 0.4 + ends.mean(0) * 0.6
        for number, end in enumerate(ends):
            kind = number % len(veins)
            way = _wander(hilum[kind], end, rng)
            vein = path_through(way, np.linspace(float(rng.uniform(2.0, 4.5)), 0.8, len(way)))
            draw_segments(structures, spacing, [vein], veins[kind], over=(organ,))


def _vessels_of_wall(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Draw lumbar, gonadal, intercostal and subcutaneous vessels, in place."""
    spacing = pulled.spacing
    wide = (3 * spacing[0], 3 * spacing[1], 3 * spacing[2])
    small = structures[::3, ::3, ::3]
    aorta = sample_points(small == _S.AORTA, 400, rng, wide)
    canal = sample_points(small == _S.SPINAL_FLUID, 400, rng, wide)
    soft = (_S.VISCERAL_FAT, _S.MUSCLE, _S.PSOAS)
    if len(aorta) and len(canal):
        for level in np.arange(0, structures.shape[0] * spacing[0], float(rng.uniform(28, 38))):
            root = aorta[np.argmin(np.abs(aorta[:, 0] - level))]
            spine = canal[np.argmin(np.abs(canal[:, 0] - level))]
            for side in (-1, 1):
                beside = float(rng.uniform(23, 29)) * side  # they hug the body of the vertebra
                way = np.array(
                    [
                        root,
                        (root[0], root[1] + 10, spine[2] + 0.75 * beside),
                        (level, 0.5 * (root[1] + spine[1]) + 4, spine[2] + beside),
                        (level - 3, spine[1], spine[2] + beside),
                        (level - 6, spine[1] + 12, spine[2] + 1.3 * beside),
                    ]
                )
                radius = float(rng.uniform(0.5, 1.1))
                draw_segments(structures, spacing, [path_through(way, radius)], _S.OTHER_ARTERY, over=soft)
                draw_segments(
                    structures,
                    spacing,
                    [path_through(way + np.array([3.0, 0, 0]), radius)],
                    _S.OTHER_VEIN,
                    over=soft,
                )
    psoas = small == _S.PSOAS
    for start in sample_points(psoas, 4, rng, wide):  # gonadal veins on the muscle
        way = start + np.cumsum(np.vstack([np.zeros(3), rng.normal((-22, 0, 0), 5, (5, 3))]), 0) + (0, -14, 0)
        draw_segments(
            structures, spacing, [path_through(way, float(rng.uniform(0.8, 2.0)))], _S.OTHER_VEIN, over=_FAT
        )
    for tissue, number in ((_S.SUBCUTANEOUS_FAT, 22), (_S.MUSCLE, 22)):
        for start in sample_points(small == tissue, number, rng, wide):
            way = start + np.cumsum(np.vstack([np.zeros(3), rng.normal(0, 12, (4, 3))]), 0)
            kind = int(rng.choice([_S.OTHER_VEIN, _S.OTHER_ARTERY]))
            draw_segments(
                structures, spacing, [path_through(way, float(rng.uniform(0.4, 1.2)))], kind, over=(tissue,)
            )


def add_wall_findings(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Draw calcified plaque in the wall of the aorta of every third case, in place."""
    if rng.random() > 0.33:
        return
    spacing = pulled.spacing
    found = np.flatnonzero(structures == _S.AORTA)
    if not len(found):
        return
    z, y, x = np.unravel_index(found, structures.shape)
    rim = np.zeros(len(found), bool)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        ny, nx = np.clip(y + dy, 0, structures.shape[1] - 1), np.clip(x + dx, 0, structures.shape[2] - 1)
        rim |= structures[z, ny, nx] != _S.AORTA
    at = np.stack([z, y, x], -1) * np.asarray(spacing)
    for centre in at[rim][
        rng.choice(int(rim.sum()), min(int(rng.integers(2, 14)), int(rim.sum())), replace=False)
    ]:
        close = rim & (
            np.linalg.norm((at - centre) / rng.uniform(0.6, 2.0, 3), axis=1) < rng.uniform(1.5, 4.0)
        )
        structures.ravel()[found[close]] = _S.PLAQUE
