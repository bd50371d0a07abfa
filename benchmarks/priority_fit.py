"""Fit what the order of review is made of, on validation phantoms: the temperature, and the weights of doubt.

    python benchmarks/priority_fit.py draw --anatomy DIR --cases FOLDER
    python benchmarks/priority_fit.py fit --cases FOLDER

DIR holds the two label maps named in docs/checkpoint.md. ``draw`` makes two geometries of each of the three
sources of anatomy in three phases: 18 crops of typical variety, seeds 510 to 711. Seeds 500 to 999 are for
validation, and ``fit`` refuses others. Nothing is written into the package: whoever adopts a fit copies it.

The weights are judged by what the order is for, the share of the wrong voxels in the first fifth of the list,
on geometries that they were not fitted on (each is left out once).
"""

from __future__ import annotations

import argparse
import os
import platform
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from annotation.judging import Judge
from annotation.work import AnnotationCase
from effort import FIRST_SHARE, errors_of
from scipy.optimize import minimize
from scipy.stats import rankdata

from napari_kidnet import load_checkpoint
from napari_kidnet.islands import Context, IslandTable, ReviewWeights, find_islands, review_order
from napari_kidnet.islands.priority import doubt_degrees
from napari_kidnet.progress import drain
from napari_kidnet.scans import Case, list_cases, read_labels, read_scan
from napari_kidnet.segmentation import SegmentSettings, segment_steps
from napari_kidnet.segmentation.uncertainty import (
    TEMPERATURE,
    calibration_error,
    corrected,
    entropy_where_asked,
    fit_temperature,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = (
    (None, (510, 511)),
    ("spl_abdomen_labels", (610, 611)),
    ("ct_abdomen_3mm_labels", (710, 711)),
)
PHASES = ("arterial", "venous", "excretory")
VALIDATION = range(500, 1000)
SURELY_BACKGROUND = 0.99
"""Voxels above this are nearly the whole scan, and would be all that a temperature is fitted to."""
LARGEST_WEIGHT = 0.95
DOUBTS = ("any", "loose", "far", "unsure", "improbable", "thick", "round", "touching")


@dataclass(slots=True)
class Predicted:
    """One case as the checkpoint predicts it."""

    name: str
    geometry: str
    log: np.ndarray  # float16 (class, z, y, x)
    weights: np.ndarray
    sensitivity: float
    case: AnnotationCase
    table: IslandTable
    inside: np.ndarray  # wrong voxels in each island
    missed: np.ndarray  # missed voxels that it is the nearest of its class to
    wrong: np.ndarray  # bool (labelled voxel,)

    def calibrated(self, temperature: float) -> IslandTable:
        """Return the table with the uncertainty of this temperature."""
        read = entropy_where_asked(self.log, self.weights, self.sensitivity, temperature)
        values = read[np.unravel_index(self.table.flat, self.table.shape)].astype(np.float64)
        mean = np.add.reduceat(values, self.table.offsets[:-1]) / self.table.voxels
        return replace(self.table, uncertainty=mean)


def draw(arguments: argparse.Namespace) -> None:
    from napari_kidnet.phantom import PhantomSettings, load_label_map, make_renderings, write_case

    for source, seeds in SOURCES:
        anatomy = None
        if source is not None:
            files = (arguments.anatomy / f"{source}{suffix}" for suffix in (".nii.gz", ".json"))
            anatomy = load_label_map(*files)
        settings = PhantomSettings(field="crop", spacing=None, label_map=anatomy, variety="typical")
        for seed in seeds:
            for case in make_renderings(seed, settings, PHASES):
                print(write_case(arguments.cases, case), flush=True)


def predict(files: Case, checkpoint, threads: int) -> Predicted:
    scan = read_scan(files.ct)
    settings = SegmentSettings(threads=threads, keep_probabilities=True)
    found = drain(segment_steps(scan, checkpoint, settings))
    log, weights, sensitivity = found.log_probabilities, found.class_weights, found.sensitivity
    context = Context(
        spacing=scan.spacing,
        log_probabilities=log,
        uncertainty=entropy_where_asked(log, weights, sensitivity),
    )
    truth = read_labels(files.labels, like=scan)
    case = AnnotationCase(files.name, scan, found.labels, truth, context)
    table = find_islands(found.labels, context)
    inside, missed = errors_of(case, table)
    wrong = Judge(truth).wrong(found.labels)[found.labels != 0]
    geometry = files.name.rsplit("-", 1)[0]
    return Predicted(files.name, geometry, log, weights, sensitivity, case, table, inside, missed, wrong)


def samples(each: Predicted) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities (class, voxel), class weights taken back, and truth, where it is not plain."""
    log = corrected(each.log.reshape(len(each.log), -1), each.weights, each.sensitivity)
    unclear = log[0] < np.log(SURELY_BACKGROUND)
    return log[:, unclear], each.case.truth.reshape(-1)[unclear]


def fit_weights(cases: Sequence[Predicted], tables: Sequence[IslandTable]) -> ReviewWeights:
    """Return the weights that make the loose islands' wrong shares most likely, and the trunks' slope."""
    degrees, shares = [], []
    unsure = wrong = 0.0
    for each, table in zip(cases, tables, strict=True):
        found = doubt_degrees(table)
        loose = ~table.rooted
        degrees.append(np.stack([found[name][loose] for name in DOUBTS], axis=1))
        shares.append(each.inside[loose] / table.voxels[loose])
        unsure += float((table.uncertainty * table.voxels)[~loose].sum())
        wrong += float(each.inside[~loose].sum())
    doubt, share = np.concatenate(degrees), np.concatenate(shares)  # (island, doubt), (island,)

    def loss(weights: np.ndarray) -> float:
        certain = np.clip(np.prod(1 - weights * doubt, axis=1), 1e-6, 1 - 1e-6)
        return -float((share * np.log1p(-certain) + (1 - share) * np.log(certain)).mean())

    start = np.array([getattr(ReviewWeights(), name) for name in DOUBTS])
    found = minimize(loss, start, bounds=[(0, LARGEST_WEIGHT)] * len(DOUBTS), method="L-BFGS-B")
    named = dict(zip(DOUBTS, found.x.tolist(), strict=True))
    return ReviewWeights(**named, unsure_part=wrong / max(unsure, 1e-9))


def first_fifth(each: Predicted, order: np.ndarray) -> tuple[float, float]:
    """Return the share of the wrong voxels in islands, and of all, that the first fifth of an order holds."""
    first = order[: int(np.ceil(FIRST_SHARE * len(order)))]
    both = each.inside + each.missed
    return each.inside[first].sum() / each.inside.sum(), both[first].sum() / both.sum()


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Return how often a positive one has the higher score; half where there are none."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def report_temperature(cases: Sequence[Predicted]) -> float:
    pairs = [samples(each) for each in cases]
    found = fit_temperature(pairs)
    truth = np.concatenate([each[1] for each in pairs])
    log = np.concatenate([each[0] for each in pairs], axis=1)
    print(f"temperature          {found:.3f} (in the package: {TEMPERATURE:g}), {truth.size} voxels")
    for name, temperature in (("none", 1.0), ("the package's", TEMPERATURE), ("fitted", found)):
        scaled = log / temperature
        scaled -= np.log(np.exp(scaled).sum(axis=0))
        print(f"calibration error    {calibration_error(scaled, truth):.4f} with {name}")
    apart = [[np.nan] * 3 for _ in cases]
    for row, each in zip(apart, cases, strict=True):
        place = np.nonzero(each.case.labels)
        for column, (weights, temperature) in enumerate(
            ((None, 1.0), (each.weights, TEMPERATURE), (each.weights, found))
        ):
            score = entropy_where_asked(each.log, weights, each.sensitivity, temperature)[place]
            row[column] = area_under_curve(score, each.wrong)
    raw, package, fitted = np.nanmean(apart, axis=0)
    print(f"entropy tells wrong  {raw:.3f} as the network gives it (mean area under the curve)")
    print(f"                     {package:.3f} with the package's temperature, {fitted:.3f} with the fitted")
    return found


def report_islands(cases: Sequence[Predicted], tables: Sequence[IslandTable]) -> None:
    loose = [~table.rooted for table in tables]
    share = np.concatenate(
        [(each.inside / t.voxels)[free] for each, t, free in zip(cases, tables, loose, strict=True)]
    )
    wrong = share > 0.5
    print(f"\n{share.size} loose islands, of which {int(wrong.sum())} are mostly wrong. Told apart by")
    columns = ("volume_ml", "mean_probability", "uncertainty", "distance_mm", "max_radius_mm", "length_mm")
    for name in columns:
        values = np.concatenate([getattr(t, name)[free] for t, free in zip(tables, loose, strict=True)])
        print(f"  {name:18s} area under the curve {area_under_curve(np.nan_to_num(values), wrong):.2f}")
    trunks = [
        (table.uncertainty[row], each.inside[row] / table.voxels[row])
        for each, table in zip(cases, tables, strict=True)
        for row in np.flatnonzero(table.rooted).tolist()
    ]
    unsure, part = np.array(trunks).T
    related = np.corrcoef(unsure, part)[0, 1]
    print(f"{len(trunks)} trunks: correlation of uncertainty and wrong share {related:.2f}")


def report_orders(cases: Sequence[Predicted], tables: Sequence[IslandTable]) -> None:
    fitted = fit_weights(cases, tables)
    today = asdict(ReviewWeights())
    print("\nweight        package  fitted")
    for name, value in asdict(fitted).items():
        print(f"{name:12s}  {today[name]:7.2f}  {value:6.2f}")
    figures: dict[str, list[tuple[float, float]]] = {"size": [], "package": [], "fitted": [], "left out": []}
    geometries = sorted({each.geometry for each in cases})
    for left_out in geometries:
        rest = [at for at, each in enumerate(cases) if each.geometry != left_out]
        others = fit_weights([cases[at] for at in rest], [tables[at] for at in rest])
        for each, table in zip(cases, tables, strict=True):
            if each.geometry != left_out:
                continue
            orders = {
                "size": np.argsort(-table.volume_ml, kind="stable"),
                "package": review_order(each.table).rows,
                "fitted": review_order(table, weights=fitted).rows,
                "left out": review_order(table, weights=others).rows,
            }
            for name, order in orders.items():
                figures[name].append(first_fifth(each, order))
    print("\nfirst fifth of the list holds, of the wrong voxels in islands and of all, %:")
    said = {
        "size": "by size",
        "package": "the package's weights and temperature",
        "fitted": "fitted on the same cases",
        "left out": "fitted on the other geometries",
    }
    for name, found in figures.items():
        inside, everything = 100 * np.nanmean(found, axis=0)
        print(f"  {said[name]:40s} {inside:.1f}  {everything:.1f}")


def fit(arguments: argparse.Namespace) -> None:
    checkpoint = load_checkpoint(arguments.checkpoint)
    files = list_cases(arguments.cases)
    for each in files:
        number = re.search(r"-(\d+)-", each.name)
        if number is None or int(number[1]) not in VALIDATION:
            raise SystemExit(f"{each.name} is not of a validation seed (500 to 999): it is not fitted on.")
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}")
    cases = []
    for each in files:
        cases.append(predict(each, checkpoint, arguments.threads))
        print(f"  {each.name}: {len(cases[-1].table)} islands", flush=True)
    print(f"{len(cases)} cases; sensitivity {checkpoint.sensitivity:g}\n")
    temperature = report_temperature(cases)
    tables = [each.calibrated(temperature) for each in cases]
    report_islands(cases, tables)
    report_orders(cases, tables)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    drawing = verbs.add_parser("draw")
    drawing.add_argument("--anatomy", type=Path, required=True)
    drawing.set_defaults(run=draw)
    fitting = verbs.add_parser("fit")
    fitting.add_argument("--checkpoint", type=Path)
    fitting.add_argument("--threads", type=int, default=1)
    fitting.set_defaults(run=fit)
    for each in (drawing, fitting):
        each.add_argument("--cases", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
