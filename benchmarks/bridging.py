"""Bridges over gaps of 3-8 mm that are cut into the complete truth of phantoms.

    python benchmarks/bridging.py --anatomy FOLDER                     12 cases, seeds 1000 to 1011
    python benchmarks/bridging.py --first-seed 500 --cases 12          the seeds to tune on

Case k has phase k mod 4 (unenhanced, arterial, venous, excretory) and anatomy k mod 3 (drawn; the SPL map;
the torso map), so 12 cases hold every pair; without --anatomy all are drawn. Each is bridged three times:
knowing the scan only, knowing the shipped checkpoint's probabilities as well, and knowing neither.

A gap is a ball taken out as `phantom.human_annotation` takes it out, thin places first, wherever that parts
a vessel in two pieces of 40 voxels or more that lie 3-8 mm apart. A proposal is right when it joins two
pieces of one true island and half of its way lies within a voxel of what a ball took; others are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_kidnet.islands import Context, accept_bridges, find_islands, propose_bridges
from napari_kidnet.phantom import PhantomSettings, load_label_map, make_case
from napari_kidnet.phantom.tissue import PHASES

MAPS = (None, "spl_abdomen_labels", "ct_abdomen_3mm_labels")
SMALLEST_VOXELS = 40
GAPS_OF_A_CASE = 8


class Gap(NamedTuple):
    class_id: int
    at_mm: np.ndarray
    radius_mm: float
    width_mm: float


class Case(NamedTuple):
    name: str
    spacing: tuple[float, float, float]
    hu: np.ndarray
    truth: np.ndarray
    broken: np.ndarray
    log: np.ndarray
    gaps: list[Gap]


def made(seed, number, anatomy, cache):
    """Give a case from the cache, or make it: phantom, gaps, and the checkpoint's probabilities."""
    source = MAPS[number % len(MAPS)] if anatomy else None
    phase = PHASES[number % len(PHASES)]
    name = f"{seed}-{phase}-{source or 'drawn'}"
    path = cache / f"{name}.npz"
    if not path.exists():
        from napari_kidnet.segmentation import SegmentSettings, segment_steps

        label_map = source and load_label_map(
            anatomy / f"{source}.nii.gz", anatomy / f"{source}.json", cache=cache
        )
        case = make_case(seed, PhantomSettings(phase=phase, field="crop", label_map=label_map or None))
        truth = case.truth.astype(np.uint8)
        broken, gaps = cut(truth, case.scan.spacing, np.random.default_rng([seed, 3]))
        steps = segment_steps(case.scan, settings=SegmentSettings(keep_probabilities=True))
        log = drained(steps).log_probabilities
        cache.mkdir(parents=True, exist_ok=True)
        hu = np.asarray(case.scan.hu, np.int16)
        told = [(g.class_id, *g.at_mm, g.radius_mm, g.width_mm) for g in gaps]
        np.savez(path, spacing=case.scan.spacing, hu=hu, truth=truth, broken=broken, log=log, gaps=told)
    held = np.load(path)
    gaps = [Gap(int(g[0]), g[1:4], g[4], g[5]) for g in held["gaps"].reshape(-1, 6)]
    spacing = tuple(held["spacing"].tolist())
    return Case(name, spacing, held["hu"], held["truth"], held["broken"], held["log"], gaps)


def drained(steps):
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def cut(truth, spacing, rng):
    """Take balls out of vessels, each where it parts one in two pieces 3-8 mm apart; return what is left."""
    mm, gaps = np.asarray(spacing), []
    labels = truth.copy()
    inside = class_depth(truth, spacing)
    found = np.flatnonzero(truth)
    chance = 1 / (0.3 + inside.ravel()[found]) ** 2
    tries = rng.choice(found, 30 * GAPS_OF_A_CASE, replace=False, p=chance / chance.sum())
    before = cc3d.connected_components(labels, connectivity=26)
    for at in np.stack(np.unravel_index(tries, truth.shape), 1):
        width = rng.uniform(3.0, 8.0)
        radius = float(np.hypot(width / 2, inside[tuple(at)]))
        centre = at * mm
        near = [np.linalg.norm(gap.at_mm - centre) < gap.radius_mm + radius + 4 for gap in gaps]
        if any(near) or len(gaps) == GAPS_OF_A_CASE:
            continue
        reach = np.ceil(radius / mm).astype(int)
        low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, truth.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.indices(high - low), -1) + low
        ball = np.linalg.norm((grid - at) * mm, axis=-1) <= radius
        kept = labels[box].copy()
        touched = np.unique(before[box][ball & (kept != 0)])
        labels[box][ball] = 0
        after = cc3d.connected_components(labels, connectivity=26)
        parted = gaps_between(before, after, touched, truth, mm)
        if not parted:
            labels[box] = kept
            continue
        gaps += [Gap(class_id, centre, radius, apart) for class_id, apart in parted]
        before = after
    return labels, gaps


def class_depth(truth, spacing):
    depth = np.zeros(truth.shape, np.float32)
    for class_id in np.unique(truth)[1:]:
        own = ndimage.distance_transform_edt(truth == class_id, sampling=spacing)
        depth = np.maximum(depth, own.astype(np.float32))
    return depth


def gaps_between(before, after, touched, truth, mm):
    """Return class and width of each gap that a ball made; none where it left crumbs or parted in three."""
    parted = []
    for island in touched.tolist():
        mask = before == island
        pieces, sizes = np.unique(after[mask], return_counts=True)
        pieces, sizes = pieces[pieces > 0], sizes[pieces > 0]
        if len(pieces) == 1:
            continue
        if len(pieces) != 2 or sizes.min() < SMALLEST_VOXELS:
            return []
        one, other = (np.argwhere(after == piece) * mm for piece in pieces)
        apart = float(cKDTree(one).query(other)[0].min())
        if not 3.0 <= apart <= 8.0:
            return []
        parted.append((int(truth[mask][0]), apart))
    return parted


def judged(case, context):
    """Propose bridges on a case and say which are right; return them with the gaps that they close."""
    table = find_islands(case.broken, context)
    bridges = propose_bridges(table, case.broken, context)
    whole = cc3d.connected_components(case.truth, connectivity=26)
    ball = ndimage.binary_dilation((case.truth != 0) & (case.broken == 0), np.ones((3, 3, 3)))
    closed = []
    for bridge in bridges:
        ways = tuple(bridge.path.T)
        across = bridge.path[case.broken[ways] == 0]
        rows = [table.row_of(island) for island in bridge.islands]
        sides = {int(whole.ravel()[table.voxels_of(row)[0]]) for row in rows}
        right = len(sides) == 1 and len(across) and ball[tuple(across.T)].mean() >= 0.5
        middle = across.mean(axis=0) * case.spacing if len(across) else np.zeros(3)
        own = [
            (np.linalg.norm(middle - gap.at_mm) - gap.radius_mm, k)
            for k, gap in enumerate(case.gaps)
            if gap.class_id == bridge.class_id
        ]
        nearest = min(own, default=(np.inf, -1))
        closed.append(nearest[1] if right and nearest[0] <= 2.0 else -1)
    return table, bridges, closed


def count(labels):
    ids = cc3d.connected_components(labels, connectivity=26)
    of = np.zeros(int(ids.max()) + 1, np.uint8)
    of[ids.ravel()] = labels.ravel()
    return np.bincount(of[1:], minlength=4)[1:4]


def centreline_dice(labels, truth, spacing):
    """Return the mean clDice of the classes."""
    from napari_kidnet.evaluation import evaluate

    return evaluate(labels, truth, spacing)["mean"]["whole_roi"]["cldice"]


def measure(cases, settings):
    """Bridge every case with what each setting knows; one row a setting."""
    rows = []
    for name, knows in settings.items():
        gaps = found = proposals = sure = sure_wrong = 0
        error = {"broken": 0, "bridged": 0}
        dice = {"broken": [], "bridged": []}
        for case in cases():
            context = knows(case)
            _, bridges, closed = judged(case, context)
            hit = {k for k in closed if k >= 0}
            gaps, found, proposals = gaps + len(case.gaps), found + len(hit), proposals + len(bridges)
            wrong = [each for each, k in zip(bridges, closed, strict=True) if k < 0]
            sure += sum(each.confidence >= 0.5 for each in bridges)
            sure_wrong += sum(each.confidence >= 0.5 for each in wrong)
            bridged = case.broken.copy()
            accept_bridges(bridged, bridges, case.spacing).apply(bridged)
            true = count(case.truth)
            for state, labels in (("broken", case.broken), ("bridged", bridged)):
                error[state] += int(np.abs(count(labels) - true).sum())
                dice[state].append(centreline_dice(labels, case.truth, case.spacing))
            print(f"{name:22s} {case.name:40s} gaps {len(case.gaps)} found {len(hit)} "
                  f"proposals {len(bridges)} wrong {len(wrong)}", file=sys.stderr, flush=True)  # fmt: skip
        rows.append(
            {
                "knows": name,
                "gaps": gaps,
                "found_percent": round(100 * found / max(gaps, 1), 1),
                "proposals": proposals,
                "wrong_percent": round(100 * (proposals - found) / max(proposals, 1), 1),
                "confidence_from_0.5": [sure, sure_wrong],
                "beta0_error": error,
                "cldice": {state: round(float(np.mean(each)), 4) for state, each in dice.items()},
            }
        )
    return rows


KNOWING = {
    "scan": lambda case: Context(case.spacing, hu=case.hu),
    "scan and probabilities": lambda case: Context(case.spacing, hu=case.hu, log_probabilities=case.log),
    "nothing": lambda case: Context(case.spacing),
}


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--anatomy", type=Path, help="folder with the label maps of docs/phantom.md")
    ask.add_argument("--first-seed", type=int, default=1000)
    ask.add_argument("--cases", type=int, default=12)
    ask.add_argument("--knows", choices=[*KNOWING], help="one of the three only")
    ask.add_argument("--cache", type=Path, default=Path("runs/bridging"))
    wish = ask.parse_args()

    def cases():
        for number in range(wish.cases):
            yield made(wish.first_seed + number, number, wish.anatomy, wish.cache)

    chosen = {wish.knows: KNOWING[wish.knows]} if wish.knows else KNOWING
    print(json.dumps(measure(cases, chosen), indent=1))


if __name__ == "__main__":
    main()
