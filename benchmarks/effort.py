"""What it takes to correct a prediction: three ways of working on phantoms whose truth is known.

    python benchmarks/effort.py --cases runs/default/cases/test/procedural … --geometries 2

A simulated annotator (annotator.py) has 30 actions for each case and each way of working. Prints the share of
wrong voxels that were repaired and how many of them a minute, by phase; then how much of the error lies in
the first rows of the list of islands.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from annotation.judging import CLASSES, Judge
from annotator import POLICIES, AnnotationCase, Budget, annotate, predict_case
from scipy.spatial import cKDTree

from napari_kidnet import load_checkpoint
from napari_kidnet.islands import find_islands, review_order
from napari_kidnet.islands.sparse import coordinates
from napari_kidnet.scans import list_cases

PHASES = ("arterial", "venous", "excretory")
FIRST_SHARE, FIRST_ROWS = 0.2, 20


def errors_of(case: AnnotationCase, table) -> tuple[np.ndarray, np.ndarray]:
    """Return each island's wrong voxels, and the missed voxels that it is the nearest of their class to."""
    wrong = Judge(case.truth).wrong(case.labels)
    inside = np.array([wrong.reshape(-1)[table.voxels_of(row)].sum() for row in range(len(table))], float)
    missed, spacing = np.zeros(len(table)), np.asarray(table.spacing)
    for each in CLASSES:
        points = np.argwhere(wrong & (case.truth == each) & (case.labels != each))
        rows = np.flatnonzero(table.class_id == each)
        if len(points) and len(rows):
            at = [coordinates(table.voxels_of(row), table.shape) for row in rows.tolist()]
            owner = np.repeat(rows, table.voxels[rows])
            nearest = cKDTree(np.concatenate(at) * spacing).query(points * spacing)[1]
            np.add.at(missed, owner[nearest], 1)
    return inside, missed


def list_figures(case: AnnotationCase) -> dict:
    """Return how much of the error lies in the first fifth of the list and in its first twenty rows."""
    table = find_islands(case.labels, case.context)
    inside, missed = errors_of(case, table)
    figures = {"islands": len(table)}
    orders = {"ours": review_order(table).rows, "size": np.argsort(-table.volume_ml, kind="stable")}
    for name, order in orders.items():
        for kind, error in (("inside", inside), ("all", inside + missed)):
            if error.sum():
                fifth = order[: int(np.ceil(FIRST_SHARE * len(order)))]
                figures[f"{name}_{kind}_fifth"] = float(error[fifth].sum() / error.sum())
                figures[f"{name}_{kind}_twenty"] = float(error[order[:FIRST_ROWS]].sum() / error.sum())
    return figures


def measure(case: AnnotationCase, policies: list[str], actions: int) -> dict:
    row: dict = {"case": case.name, "list": list_figures(case), "policies": {}}
    for policy in policies:
        done = annotate(case, policy, Budget(actions=actions))
        row["wrong"] = done.wrong_before
        row["policies"][policy] = {
            "repaired": done.repaired,
            "per_minute": done.voxels_per_minute,
            "seconds": done.seconds,
            "actions": done.actions,
            "to_60_percent": done.to_reach(0.6),
            "kinds": dict(Counter(step.kind for step in done.steps)),
            "seconds_of": {
                kind: sum(step.seconds for step in done.steps if step.kind == kind)
                for kind in {step.kind for step in done.steps}
            },
        }
    return row


def tables(rows: list[dict], policies: list[str]) -> str:
    by_phase = defaultdict(list)
    for row in rows:
        by_phase[next((each for each in PHASES if each in row["case"]), "any")].append(row)
    by_phase["all"] = rows
    lines = [
        "| phase | scans | wrong voxels | " + " | ".join(policies) + " |",
        "|" + "---|" * (len(policies) + 3),
    ]
    for phase, found in by_phase.items():
        cells = []
        for policy in policies:
            of = [row["policies"][policy] for row in found]
            cells.append(
                f"{100 * np.mean([each['repaired'] for each in of]):.0f} %, "
                f"{np.mean([each['per_minute'] for each in of]):.0f}/min, "
                f"{np.mean([each['seconds'] for each in of]) / 60:.1f} min"
            )
        wrong = np.mean([row["wrong"] for row in found])
        lines.append(f"| {phase} | {len(found)} | {wrong:.0f} | " + " | ".join(cells) + " |")
    lines.append("")
    for other in policies:
        if other != "ours" and "ours" in policies:
            ratios = [
                row["policies"]["ours"]["per_minute"] / max(row["policies"][other]["per_minute"], 1e-9)
                for row in rows
            ]
            pooled = np.mean([row["policies"]["ours"]["per_minute"] for row in rows]) / np.mean(
                [row["policies"][other]["per_minute"] for row in rows]
            )
            twice = sum(each >= 2 for each in ratios)
            lines.append(
                f"ours over {other}, voxels a minute: median {np.median(ratios):.2f}, means {pooled:.2f}"
                f"; twice as many in {twice} of {len(ratios)} scans"
            )
    for key in ("inside", "all"):
        for part in ("fifth", "twenty"):
            shares = {
                name: np.nanmean([row["list"].get(f"{name}_{key}_{part}", np.nan) for row in rows])
                for name in ("ours", "size")
            }
            said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            lines.append(f"error ({key}) in the first {part} of the list: {said}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--geometries", type=int, default=2, help="of each folder, in all their phases")
    parser.add_argument("--actions", type=int, default=30)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--json", type=Path, help="one line a case; cases that are in it are not done again")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    rows = []
    if options.json and options.json.exists():
        rows = [json.loads(line) for line in options.json.read_text().splitlines()]
    done = {row["case"] for row in rows}
    for folder in options.cases:
        cases = list_cases(folder)
        seeds = sorted({case.name.rsplit("-", 1)[0] for case in cases})[: options.geometries]
        for case in cases:
            if case.name.rsplit("-", 1)[0] not in seeds or case.name in done:
                continue
            begin = time.perf_counter()
            row = measure(predict_case(case, checkpoint), options.policies, options.actions)
            rows.append(row)
            shares = {policy: round(each["repaired"], 2) for policy, each in row["policies"].items()}
            print(case.name, row["wrong"], shares, f"{time.perf_counter() - begin:.0f} s", flush=True)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    machine = platform.processor() or platform.machine()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"\n{machine}, {os.cpu_count()} cores, {versions}; sensitivity {checkpoint.sensitivity:g}")
    print(f"{options.actions} actions\n")
    print(tables(rows, options.policies))


if __name__ == "__main__":
    main()
