"""Scans of three sites, and the two checkpoints that fine-tuning starts from, for `finetuning.py`.

==========  =======================================================================================
site        its scans
==========  =======================================================================================
arterial    arterial phase, noise 12–20 HU, slices of 1.2 mm: the old site
venous      venous phase, noise 20–32 HU, slices of 1.2 mm: the new site
thick       arterial phase, slices of 2.5 mm, sharp kernel, noise 20–32 HU: another new site
plain       no contrast agent, noise 12–20 HU, slices of 1.2 mm: new to the shipped network too
==========  =======================================================================================

All are drawn crops of some 100 mm about one kidney, in-plane 1.2 mm, of typical variety. Seeds: corrected
scans 300–399, validation 500–999, tests from 1000 on; the checkpoint of the arterial site is trained on
0–15 and validated on 500–501.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_kidnet.network import KidNetSettings, load_checkpoint
from napari_kidnet.phantom import PhantomSettings, make_case, write_case
from napari_kidnet.phantom.physics import PhysicsSettings
from napari_kidnet.scans import list_cases, read_labels, read_scan
from napari_kidnet.training.corrections import Correction, scan_hash

SITES = ("arterial", "venous", "thick", "plain")
GRID = (1.2, 1.2, 1.2)
MARGIN_MM = 8.0
"""Of the box about the kidney within which a scan counts as reviewed."""

OLD_SEEDS = range(16)
TEST_SEEDS = (1000, 1001, 1002, 1003)


def scanner_of(site: str, seed: int) -> PhysicsSettings:
    rng = np.random.default_rng([seed, 77])
    noise = float(rng.uniform(12, 20) if site in ("arterial", "plain") else rng.uniform(20, 32))
    if site == "thick":
        return PhysicsSettings(blur_mm=0.5, slice_mm=2.5, noise_hu=noise, grain_mm=0.5)
    return PhysicsSettings(
        blur_mm=float(rng.uniform(0.7, 1.2)), noise_hu=noise, grain_mm=float(rng.uniform(0.8, 1.5))
    )


def settings_of(site: str, seed: int, field: str = "crop") -> PhantomSettings:
    phase = {"venous": "venous", "plain": "unenhanced"}.get(site, "arterial")
    spacing = (2.5, 1.2, 1.2) if site == "thick" else GRID
    return PhantomSettings(phase, field, spacing, physics=scanner_of(site, seed))


def case_of(home: Path, site: str, seed: int, field: str = "crop"):
    """Give a case on disk; it is drawn once."""
    folder = home / "cases" / f"{site}-{field}" / f"{seed:04d}"
    if not folder.is_dir() or not list_cases(folder):
        write_case(folder, make_case(seed, settings_of(site, seed, field)))
    return list_cases(folder)[0]


def truth_of(home: Path, site: str, seed: int, field: str = "crop"):
    """Give scan, complete labels and kidneys (1 left, 2 right)."""
    case = case_of(home, site, seed, field)
    scan = read_scan(case.ct)
    return scan, read_labels(case.labels, like=scan), read_labels(case.kidneys, like=scan)


def box_of(mask: np.ndarray, spacing: tuple[float, float, float], margin_mm: float = MARGIN_MM):
    """Give the box (slices) about a mask with a margin."""
    points = np.argwhere(mask)
    margin = np.round(margin_mm / np.array(spacing)).astype(int)
    low, high = points.min(0) - margin, points.max(0) + 1 + margin
    return tuple(slice(max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, mask.shape, strict=True))


def corrected(home: Path, site: str, seed: int) -> Correction:
    """Give a scan whose labels are right within a box about the kidney, which counts as reviewed."""
    scan, truth, kidneys = truth_of(home, site, seed)
    reviewed = np.zeros(truth.shape, dtype=bool)
    reviewed[box_of(kidneys > 0, scan.spacing)] = True
    return Correction(
        f"{site}-{seed}", scan_hash(scan), scan, np.where(reviewed, truth, 0).astype(np.uint8), reviewed
    )


def base_checkpoint(home: Path, name: str) -> Path:
    """Give the file of a checkpoint.

    "shipped"; or "m0" and "narrow": small networks that have seen the arterial site alone, the former with
    training's random changes of contrast and noise, the latter without, so that other sites are really new.
    """
    if name == "shipped":
        from napari_kidnet.network.header import default_checkpoint_path

        return default_checkpoint_path()
    out = home / f"{name}.safetensors"
    if not out.is_file():
        train(home, out, 900 if name == "m0" else 1500)
    return out


def train(home: Path, out: Path, steps: int) -> None:
    import time

    from napari_kidnet.training import Augmentation, TrainInputs, TrainSettings, train_steps

    shape_only = Augmentation(curve=0, gain=0, noise=0, blur=0, thick_slices=0)
    settings = TrainSettings(
        network=KidNetSettings(base=8, levels=4, norm="batch"),
        **{"steps": steps, "batch": 2, "patch_voxels": 48, "spacing": GRID, "learning_rate": 2e-3},
        **{"dice": 1.0, "freeze_norm": 0.4, "device": "cpu", "threads": 1, "validate_every": steps},
        augmentation=Augmentation() if out.stem == "m0" else shape_only,
    )
    cases = [replace(case_of(home, "arterial", seed), name=f"arterial-{seed}") for seed in OLD_SEEDS]
    held = [case_of(home, "arterial", seed) for seed in (500, 501)]
    began = time.process_time()
    for step in train_steps(TrainInputs(cases, held), out, settings):
        if step.done and step.done % 50 == 0:
            seconds = time.process_time() - began
            print(f"{out.stem}: step {step.done}, loss {step.loss:.3f}, {seconds:.0f} s", flush=True)
        if step.validation:
            print(step.validation, flush=True)
    print(f"{out.stem}: {time.process_time() - began:.0f} s of one core", flush=True)


def earlier_cases(home: Path, base: str):
    """Give what is replayed: phantoms that the product draws, or the arterial site's first scans."""
    if base == "shipped":
        return "beside"
    return [replace(case_of(home, "arterial", seed), name=f"arterial-{seed}") for seed in OLD_SEEDS[:6]]


def hash_of(path: Path) -> str:
    return load_checkpoint(path).hash[:12]


def scores(found: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> dict[str, list[float]]:
    """Give F1, recall and precision of artery, vein and collecting system."""
    if where is not None:
        found, truth = found[where], truth[where]
    values: dict[str, list[float]] = {"f1": [], "recall": [], "precision": []}
    for label in (1, 2, 3):
        mine, theirs = found == label, truth == label
        both = int(np.count_nonzero(mine & theirs))
        own, all_ = int(np.count_nonzero(mine)), int(np.count_nonzero(theirs))
        values["f1"].append(2 * both / max(1, own + all_))
        values["recall"].append(both / max(1, all_))
        values["precision"].append(both / max(1, own))
    return values


def segmented(path_or_checkpoint, scan) -> np.ndarray:
    from napari_kidnet.segmentation import SegmentSettings, segment

    checkpoint = (
        load_checkpoint(path_or_checkpoint)
        if isinstance(path_or_checkpoint, (str, Path))
        else path_or_checkpoint
    )
    return segment(scan, checkpoint, SegmentSettings(device="cpu", engine="torch", threads=1))


def measured(home: Path, checkpoint, site: str, seeds=TEST_SEEDS) -> list[float]:
    """Give the mean F1 over a site's scans of artery, vein and collecting system."""
    rows = []
    for seed in seeds:
        scan, truth, _ = truth_of(home, site, seed)
        rows.append(scores(segmented(checkpoint, scan), truth)["f1"])
    return [float(each) for each in np.mean(rows, axis=0)]


os.environ.setdefault("OMP_NUM_THREADS", "1")

if __name__ == "__main__":
    import sys

    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/finetuning")
    for each in sys.argv[2:] or ("shipped", "m0", "narrow"):
        file = base_checkpoint(root, each)
        for where in SITES[:2] if len(sys.argv) > 2 else SITES:
            print(each, hash_of(file), where, np.round(measured(root, file, where), 3), flush=True)
