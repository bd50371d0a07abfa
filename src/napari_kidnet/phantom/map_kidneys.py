"""The kidneys of a pulled label map: cortex, pyramids and sinus, and the vessels' calibre or a new tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects
from scipy.spatial import cKDTree

from napari_kidnet.phantom.splines import smooth_field
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.surroundings import sample_points
from napari_kidnet.phantom.tubes import draw_segments, path_through
from napari_kidnet.phantom.vessels import grow_renal_vessels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.phantom.anatomy_map import PulledMap

__all__ = ["complete_kidneys"]

_S = Structure
_Side = Literal["left", "right"]

_OF_SIDE: Final[dict[_Side, dict[str, Structure]]] = {
    "left": {
        "cortex": _S.CORTEX_LEFT,
        "medulla": _S.MEDULLA_LEFT,
        "sinus": _S.SINUS_FAT_LEFT,
        "artery": _S.RENAL_ARTERY_LEFT,
        "vein": _S.RENAL_VEIN_LEFT,
        "collecting": _S.COLLECTING_LEFT,
        "ureter": _S.URETER_LEFT,
    },
    "right": {
        "cortex": _S.CORTEX_RIGHT,
        "medulla": _S.MEDULLA_RIGHT,
        "sinus": _S.SINUS_FAT_RIGHT,
        "artery": _S.RENAL_ARTERY_RIGHT,
        "vein": _S.RENAL_VEIN_RIGHT,
        "collecting": _S.COLLECTING_RIGHT,
        "ureter": _S.URETER_RIGHT,
    },
}

_REGROWN: Final = {"artery": 0.5, "vein": 0.5, "collecting": 0.75}
"""Share of kidneys whose own tree gives way to a grown one: one person's branching is soon known by heart.

The one map that has a collecting system has a dilated one, which shall be the rarer sight."""


def complete_kidneys(structures: NDArray[np.uint8], pulled: PulledMap, rng: np.random.Generator) -> None:
    """Divide the kidneys into their parts and see to their vessels, in place.

    Parameters
    ----------
    structures : uint8 array (z, y, x)
        The case's structures; what the map left empty is filled with fat already.
    pulled : PulledMap
        The pulled map.
    rng : numpy.random.Generator
    """
    spacing = pulled.spacing
    for great, most in ((_S.AORTA, 2.0), (_S.VENA_CAVA, 3.0)):
        _change_calibre(structures, great, float(rng.uniform(-most, 0.75 * most)), spacing, rng)
    _flatten_cava(structures, spacing, rng)
    order: list[tuple[int, _Side]] = [(1, "left"), (2, "right")]
    for number, side in order:
        ids = _OF_SIDE[side]
        tree = np.isin(pulled.structures, [ids["artery"], ids["vein"], ids["collecting"]])
        box = _box(pulled.sides == number, spacing, 4.0)
        if box is not None:
            _divide(structures[box], pulled, (box, number, side), tree[box], rng)
        grow = {
            kind: not (structures == ids[kind]).any() or bool(rng.random() < _REGROWN[kind])
            for kind in ("artery", "vein", "collecting")
        }
        for kind, again in grow.items():
            if again:
                _remove(
                    structures, pulled, (number, side), (kind, "ureter") if kind == "collecting" else (kind,)
                )
            elif kind == "collecting":
                _change_calibre(structures, ids["collecting"], float(rng.uniform(-2.8, -0.6)), spacing, rng)
                _change_calibre(structures, ids["ureter"], float(rng.uniform(-2.2, -0.2)), spacing, rng)
            else:
                _change_calibre(structures, ids[kind], float(rng.uniform(-0.9, 0.4)), spacing, rng)
        if box is not None and any(grow.values()):
            other = _other_psoas(structures, side)
            structures.ravel()[other] = _S.MUSCLE  # the ureter shall find its own side's psoas only
            grow_renal_vessels(
                structures,
                spacing,
                side,
                rng,
                artery=grow["artery"],
                vein=grow["vein"],
                collecting=grow["collecting"],
            )
            still = structures.ravel()[other] == _S.MUSCLE
            structures.ravel()[other[still]] = _S.PSOAS
            for kind in ("collecting", "vein"):
                if grow[kind]:
                    most = 1.3 if kind == "collecting" else 0.5
                    _change_calibre(structures, ids[kind], float(rng.uniform(-0.1, most)), spacing, rng)
        if box is not None:
            _add_findings(structures, pulled, (box, number, side), rng)


def _box(
    mask: NDArray[np.bool_], spacing: tuple[float, float, float], margin_mm: float
) -> tuple[slice, slice, slice] | None:
    """Return the bounding box of a mask grown by a margin, or None where the mask is empty."""
    boxes = find_objects(mask.view(np.uint8))
    if not boxes or boxes[0] is None:
        return None
    z, y, x = (
        slice(max(0, b.start - int(margin_mm / s)), min(n, b.stop + int(margin_mm / s)))
        for b, s, n in zip(boxes[0], spacing, mask.shape, strict=True)
    )
    return (z, y, x)


def _other_psoas(structures: NDArray[np.uint8], side: _Side) -> NDArray[np.intp]:
    """Return the flat indices of the psoas on the other side of the spinal canal."""
    found = np.flatnonzero(structures == _S.PSOAS)
    z, _, x = np.unravel_index(found, structures.shape)
    canal = np.nonzero(structures == _S.SPINAL_FLUID)
    if not len(canal[0]):
        return found[:0]
    count = np.bincount(canal[0], minlength=len(structures))
    levels = np.flatnonzero(count)
    middle = np.interp(
        np.arange(len(structures)),
        levels,
        np.bincount(canal[0], canal[2], len(structures))[levels] / count[levels],
    )
    other: NDArray[np.intp] = found[(x < middle[z]) == (side == "left")]
    return other


def _divide(
    part: NDArray[np.uint8],
    pulled: PulledMap,
    where: tuple[tuple[slice, slice, slice], int, _Side],
    tree: NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    """Divide one kidney, given as a view of the structures, into cortex, pyramids and sinus, in place."""
    box, number, side = where
    ids, spacing = _OF_SIDE[side], pulled.spacing
    kidney = pulled.sides[box] == number
    depth = pulled.depth[box]
    own = kidney & np.isin(part, [ids["cortex"], ids["medulla"], ids["sinus"], _S.VISCERAL_FAT])
    thickness = float(rng.uniform(5.0, 8.0))
    had_fat = own & ((part == _S.VISCERAL_FAT) | (part == ids["sinus"]))
    sinus = had_fat.copy()
    deep_tree = tree & kidney & (depth > thickness + 2)
    if deep_tree.any():
        away = distance_transform_edt(~deep_tree, sampling=spacing)
        sinus |= own & (away < rng.uniform(1.5, 4.5)) & (depth > thickness + 1)
    parenchyma = own & ~sinus
    part[sinus] = ids["sinus"]
    part[parenchyma] = ids["cortex"]
    inner = parenchyma & (depth > thickness)
    seeds = sample_points(inner & (depth < thickness + 4), 400, rng, spacing)
    if len(seeds) < 12:
        return
    # Pyramids: cells about seeds that lie far from each other, with columns of cortex between them.
    chosen = [seeds[0]]
    nearest = np.linalg.norm(seeds - seeds[0], axis=1)
    for _ in range(int(rng.integers(9, 15))):
        chosen.append(seeds[int(np.argmax(nearest))])
        nearest = np.minimum(nearest, np.linalg.norm(seeds - chosen[-1], axis=1))
    found = np.flatnonzero(inner)
    at = np.stack(np.unravel_index(found, inner.shape), -1) * np.asarray(spacing)
    nearest_two = np.asarray(cKDTree(np.array(chosen)).query(at, k=2, workers=1)[0])
    first, second = nearest_two[:, 0], nearest_two[:, 1]
    pyramid = second - first > rng.uniform(2.0, 5.0)
    part[np.unravel_index(found[pyramid], inner.shape)] = ids["medulla"]


def _remove(
    structures: NDArray[np.uint8], pulled: PulledMap, where: tuple[int, _Side], kinds: tuple[str, ...]
) -> None:
    """Put sinus fat, cortex or fat where a kidney's own vessel was, in place."""
    number, side = where
    ids = _OF_SIDE[side]
    for kind in kinds:
        found = np.flatnonzero(structures == ids[kind])
        within = pulled.sides.ravel()[found] == number
        deep = pulled.depth.ravel()[found] > 9
        structures.ravel()[found] = np.where(
            within, np.where(deep, np.uint8(ids["sinus"]), np.uint8(ids["cortex"])), np.uint8(_S.VISCERAL_FAT)
        )


def _change_calibre(
    structures: NDArray[np.uint8],
    vessel: int,
    change_mm: float,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:
    """Thicken or thin a vessel by a radius that varies along it, in place; it grows into fat only."""
    box = _box(structures == vessel, spacing, 4.0)
    if box is None:
        return
    part = structures[box]
    mask = part == vessel
    change = np.float32(change_mm) * (1 + 0.5 * smooth_field(rng, part.shape, spacing, 30.0))
    # Distances to the surface, not to the next voxel's centre: else changes below a voxel would do nothing.
    half = np.float32(0.5 * np.mean(spacing))
    inside = distance_transform_edt(mask, sampling=spacing).astype(np.float32) - half
    if change_mm > 0:
        outside = distance_transform_edt(~mask, sampling=spacing).astype(np.float32) - half
        fat = np.isin(part, [_S.VISCERAL_FAT, _S.SINUS_FAT_LEFT, _S.SINUS_FAT_RIGHT])
        part[fat & ~mask & (outside < change)] = vessel
        return
    # Thinning stops short of the axis, or thin stretches would vanish.
    core = inside >= np.minimum(-change, 0.55 * _local_radius(inside, spacing))
    gone = mask & ~core
    fat_here = np.uint8(_S.VISCERAL_FAT)
    if vessel in (_S.COLLECTING_LEFT, _S.RENAL_ARTERY_LEFT, _S.RENAL_VEIN_LEFT):
        fat_here = np.uint8(_S.SINUS_FAT_LEFT)
    elif vessel in (_S.COLLECTING_RIGHT, _S.RENAL_ARTERY_RIGHT, _S.RENAL_VEIN_RIGHT):
        fat_here = np.uint8(_S.SINUS_FAT_RIGHT)
    part[gone] = fat_here


def _local_radius(inside: NDArray[np.float32], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """Return the largest depth within about 5 mm, a vessel's radius at each of its voxels."""
    from scipy.ndimage import maximum_filter

    size = [2 * int(5 / step) + 1 for step in spacing]
    found: NDArray[np.float32] = maximum_filter(inside, size=size)
    return found


def _flatten_cava(
    structures: NDArray[np.uint8], spacing: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Flatten every third vena cava from front to back, as in a patient short of fluid, in place."""
    if rng.random() > 0.35:
        return
    box = _box(structures == _S.VENA_CAVA, spacing, 2.0)
    if box is None:
        return
    part = structures[box]
    mask = part == _S.VENA_CAVA
    steps = int(rng.uniform(1.0, 4.0) / spacing[1]) + 1
    kept = binary_erosion(mask, np.ones((1, 3, 1), bool), iterations=steps)
    # Where it would collapse wholly it stays as it was.
    kept |= mask & ~kept.any(1, keepdims=True)
    part[mask & ~kept] = _S.VISCERAL_FAT


def _add_findings(
    structures: NDArray[np.uint8],
    pulled: PulledMap,
    where: tuple[tuple[slice, slice, slice], int, _Side],
    rng: np.random.Generator,
) -> None:
    """Add cysts (30 % of kidneys), a tumour (10 %) and a stone (5 %), in place."""
    box, number, side = where
    ids, spacing = _OF_SIDE[side], pulled.spacing
    corner = np.array([b.start for b in box]) * np.asarray(spacing)
    kidney = pulled.sides[box] == number
    over = (ids["cortex"], ids["medulla"], _S.VISCERAL_FAT)
    rim = kidney & (pulled.depth[box] < 8)
    findings = [(_S.CYST, int(rng.integers(1, 4)), (3.0, 16.0))] if rng.random() < 0.3 else []
    if rng.random() < 0.1:
        findings.append((_S.TUMOUR, 1, (7.0, 22.0)))
    for structure, count, (least, most) in findings:
        for centre in sample_points(rim, count, rng, spacing) + corner:
            radius = float(rng.uniform(least, most))
            ball = path_through(np.stack([centre, centre + rng.normal(0, 0.2 * radius, 3)]), radius)
            draw_segments(structures, spacing, [ball], structure, over=over)
    if rng.random() < 0.05:
        urine = structures[box] == ids["collecting"]
        for centre in sample_points(urine, 1, rng, spacing) + corner:
            stone = path_through(np.stack([centre, centre + 1.0]), float(rng.uniform(1.2, 5.0)))
            draw_segments(structures, spacing, [stone], _S.STONE, over=(ids["collecting"],))
