"""Which figure finds the scan with most to correct: rank correlation with what is really wrong.

    python benchmarks/worklist_order.py --seed 500 --cases 12

Phantoms of all contrast phases, segmented with the shipped checkpoint (or --checkpoint). Printed for each
figure is Spearman's rank correlation with the wrong volume and with the number of islands to delete
(islands that touch no vessel of the truth); `by size` is what one would do without it.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np

from napari_kidnet.islands import Context, find_islands, review_order
from napari_kidnet.labelling.worklist.benefit import expected_wrong_ml, mean_entropy
from napari_kidnet.network import load_checkpoint
from napari_kidnet.phantom import PhantomSettings, make_case
from napari_kidnet.progress import drain
from napari_kidnet.segmentation import SegmentSettings, segment_steps

PHASES = ("arterial", "venous", "excretory", "unenhanced")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    rows = []
    for number in range(options.cases):
        seed, phase = options.seed + number, PHASES[number % len(PHASES)]
        case = make_case(seed, PhantomSettings(phase=phase, variety="wide"))
        began = time.monotonic()
        prediction = drain(segment_steps(case.scan, checkpoint, SegmentSettings()))
        took = time.monotonic() - began
        began = time.monotonic()
        figure = expected_wrong_ml(prediction, case.scan.spacing), mean_entropy(prediction)
        figures_took = time.monotonic() - began
        table = find_islands(prediction.labels, Context(spacing=case.scan.spacing, hu=case.scan.hu))
        review = review_order(table)
        ml = float(np.prod(case.scan.spacing)) / 1000
        wrong = float(np.count_nonzero(prediction.labels != case.truth)) * ml
        false = sum(not case.truth.reshape(-1)[table.voxels_of(row)].any() for row in range(len(table)))
        rows.append((*figure, float(review.score_ml.sum()), float(case.scan.hu.size), wrong, float(false)))
        print(
            f"{seed} {phase:10s} expected {figure[0]:6.2f} mL, entropy {figure[1]:.3f}, "
            f"islands {rows[-1][2]:6.2f} mL; wrong {wrong:6.2f} mL, to delete {false} of {len(table)} "
            f"({took:.0f} s, figures {figures_took:.2f} s)",
            flush=True,
        )
    values = np.array(rows)
    names = ("expected wrong volume", "mean entropy", "islands' score", "by size")
    machine = f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"\nSpearman, {options.cases} phantoms from seed {options.seed}, {machine}")
    for column, name in enumerate(names):
        print(f"{name:22s} wrong mL {spearman(values[:, column], values[:, 4]):+.2f}", end="")
        print(f"   islands to delete {spearman(values[:, column], values[:, 5]):+.2f}")


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


if __name__ == "__main__":
    main()
