"""What a checkpoint is worth on phantoms that it was not trained on, by source of anatomy and phase.

    python benchmarks/checkpoint.py --checkpoint F --cases runs/default/cases/test/procedural …

Prints one row a source and phase: mean F1 against the complete truth, whole region and kidney box, each
also under the islands rule, at the sensitivity that the checkpoint carries (tuned on validation cases).
"""

from __future__ import annotations

import argparse
import platform
from collections import defaultdict
from pathlib import Path

import numpy as np

from napari_kidnet import evaluate, load_checkpoint, read_labels, read_scan, segment
from napari_kidnet.classes import VESSELS
from napari_kidnet.scans import list_cases
from napari_kidnet.segmentation import SegmentSettings

PHASES = ("unenhanced", "arterial", "venous", "excretory")


def figures(path: Path, checkpoint, settings: SegmentSettings):
    rows = defaultdict(list)
    for case in list_cases(path):
        scan = read_scan(case.ct)
        labels = segment(scan, checkpoint, settings)
        truth = read_labels(case.labels, like=scan)
        kidneys = read_labels(case.kidneys, like=scan) if case.kidneys else None
        phase = next((each for each in PHASES if each in case.name), "any")
        rows[phase].append(evaluate(labels, truth, scan.spacing, kidneys))
    return rows


def mean_f1(found: list, name: str, region: str, rule: bool) -> float:
    values = []
    for each in found:
        part = each[name][region]
        value = (part["islands_rule"] if rule else part)["f1"]
        values.append(np.nan if value is None else value)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--sensitivity", type=float, help="in place of the checkpoint's")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    settings = SegmentSettings(threads=arguments.threads, sensitivity=arguments.sensitivity)
    shown = checkpoint.sensitivity if arguments.sensitivity is None else arguments.sensitivity
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; "
        f"sensitivity {shown:g}"
    )
    print(
        "| source | phase | scans | "
        + " | ".join(f"{each.name} ROI / box (islands rule)" for each in VESSELS)
        + " | mean ROI |"
    )
    print("|" + "---|" * (len(VESSELS) + 4))
    for path in arguments.cases:
        for phase, found in figures(path, checkpoint, settings).items():
            cells, roi = [], []
            for each in VESSELS:
                a, b, c, d = (
                    mean_f1(found, each.name, region, rule)
                    for rule in (False, True)
                    for region in ("whole_roi", "kidney_box")
                )
                roi.append(a)
                cells.append(f"{a:.2f} / {b:.2f} ({c:.2f} / {d:.2f})")
            print(
                f"| {path.name} | {phase} | {len(found)} | "
                + " | ".join(cells)
                + f" | {np.nanmean(roi):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
