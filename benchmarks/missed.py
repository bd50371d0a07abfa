"""What a checkpoint misses, and where: by the vessel's radius, and in pictures.

    python benchmarks/missed.py --checkpoint F --cases DIR … --picture docs/images/missed.png

Prints, for each folder of cases and class, how much of the truth is found, called another vessel and left
empty, by the radius of the vessel there, and how much of what is found lies outside of the truth. The picture
shows one case a folder and phase from the front: the truth, what was found, and what is wrong about it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from napari_kidnet import load_checkpoint, read_labels, read_scan, segment
from napari_kidnet.classes import VESSELS
from napari_kidnet.scans import list_cases
from napari_kidnet.segmentation import SegmentSettings

PHASES = ("arterial", "venous", "excretory")
RADII_MM = (0.0, 1.0, 2.0, 4.0, np.inf)
MARGIN_VOXELS = 2.0  # errors nearer to a border than this are marginal (paper §2.2)
MISSED, OTHER, FALSE = (255, 255, 255), (0, 220, 220), (255, 0, 255)


def radius_of(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return each voxel's local radius in mm: the depth of the nearest voxel of the centre line."""
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    depth = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    line = skeletonize(mask)
    if not line.any():
        return depth
    nearest = distance_transform_edt(~line, sampling=spacing, return_distances=False, return_indices=True)
    return depth[tuple(nearest)]


def count(truth: np.ndarray, found: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return voxels (class, radius bin, right / other vessel / empty)."""
    table = np.zeros((len(VESSELS), len(RADII_MM) - 1, 3), np.int64)
    for row, vessel in enumerate(VESSELS):
        mask = truth == vessel.id
        if not mask.any():
            continue
        bins = np.digitize(radius_of(mask, spacing)[mask], RADII_MM[1:-1])
        here = found[mask]
        what = np.where(here == vessel.id, 0, np.where(here > 0, 1, 2))
        np.add.at(table[row], (bins, what), 1)
    return table


def far_false(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return, for each class, the voxels found and those of them beyond the margin of any vessel."""
    from scipy.ndimage import distance_transform_edt

    far = distance_transform_edt(truth == 0) > MARGIN_VOXELS
    return np.array([[(found == v.id).sum(), ((found == v.id) & far).sum()] for v in VESSELS])


def front(labels: np.ndarray, spacing: tuple[float, float, float], colours: dict[int, tuple], height: int):
    """Return labels from the front, the head up, as RGB."""
    nearest = np.argmax(labels != 0, axis=1)
    seen = np.take_along_axis(labels, nearest[:, None, :], axis=1)[::-1, 0]
    light = (1 - 0.5 * nearest / labels.shape[1])[::-1]
    picture = np.zeros((*seen.shape, 3))
    for value, colour in colours.items():
        picture[seen == value] = np.array(colour, float) * light[seen == value][:, None]
    width = round(height * seen.shape[1] * spacing[2] / (seen.shape[0] * spacing[0]))
    return np.array(Image.fromarray(picture.astype(np.uint8)).resize((width, height), Image.Resampling.BOX))


def panels(truth: np.ndarray, found: np.ndarray, spacing: tuple[float, float, float], height: int = 230):
    """Return truth, what was found, and the errors side by side."""
    from scipy.ndimage import binary_dilation

    gap = np.zeros((height, 8, 3), np.uint8)
    colours = {v.id: tuple(255 * c for c in v.colour[:3]) for v in VESSELS}
    near_found = binary_dilation(found > 0, iterations=int(MARGIN_VOXELS))
    near_truth = binary_dilation(truth > 0, iterations=int(MARGIN_VOXELS))
    errors = np.zeros_like(truth)
    errors[(truth > 0) & ~near_found] = 1
    errors[(truth > 0) & (found > 0) & (truth != found)] = 2
    errors[(found > 0) & ~near_truth] = 3
    marks = {1: MISSED, 2: OTHER, 3: FALSE}
    three = (front(truth, spacing, colours, height), front(found, spacing, colours, height))
    return np.concatenate([three[0], gap, three[1], gap, front(errors, spacing, marks, height)], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    settings = SegmentSettings(threads=arguments.threads)
    columns = []
    print("| source | class | radius | of the truth | found | other vessel | empty | far from any vessel |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in arguments.cases:
        total = np.zeros((len(VESSELS), len(RADII_MM) - 1, 3), np.int64)
        false = np.zeros((len(VESSELS), 2), np.int64)
        shown: dict[str, np.ndarray] = {}
        for case in list_cases(folder):
            scan = read_scan(case.ct)
            found = segment(scan, checkpoint, settings)
            truth = read_labels(case.labels, like=scan).astype(np.uint8)
            total += count(truth, found, scan.spacing)
            false += far_false(truth, found)
            phase = next((each for each in PHASES if each in case.name), "any")
            if phase not in shown:
                shown[phase] = panels(truth, found, scan.spacing)
        columns.append(_stacked([shown[phase] for phase in PHASES if phase in shown]))
        for vessel, table, (all_found, far) in zip(VESSELS, total, false, strict=True):
            for low, high, line in zip(RADII_MM, RADII_MM[1:], table, strict=False):
                if line.sum():
                    part = line / line.sum()
                    print(
                        f"| {folder.name} | {vessel.name} | {low:g}–{high:g} mm | "
                        f"{line.sum() / table.sum():.0%} | {part[0]:.0%} | {part[1]:.0%} | {part[2]:.0%} | "
                        f"{far / max(all_found, 1):.0%} |",
                        flush=True,
                    )
    if arguments.picture is not None:
        height = max(each.shape[0] for each in columns)
        columns = [np.pad(each, ((0, height - each.shape[0]), (0, 24), (0, 0))) for each in columns]
        Image.fromarray(np.concatenate(columns, axis=1)).save(arguments.picture, optimize=True)


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 6), (0, width - row.shape[1]), (0, 0))) for row in rows])


if __name__ == "__main__":
    main()
