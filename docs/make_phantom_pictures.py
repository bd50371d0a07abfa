"""Make the pictures of docs/phantom.md again.

    python docs/make_phantom_pictures.py --anatomy FOLDER --scan CT.nii.gz

FOLDER holds the two label maps that docs/phantom.md names, CT.nii.gz is a real scan to lay beside them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from napari_kidnet.classes import SOFT_TISSUE_WINDOW
from napari_kidnet.phantom import LabelMap, PhantomSettings, load_label_map, make_case, make_renderings
from napari_kidnet.scans import read_scan

SPACING = (1.3, 1.3, 1.3)
COLOURS = np.array([[0, 0, 0], [255, 60, 60], [70, 110, 255], [255, 170, 40]])
MAPS = ("spl_abdomen_labels", "ct_abdomen_3mm_labels")


def panel(hu, spacing, labels=None, pixel_mm=1.3):
    """One slice (rows, columns) in window 40/400, square pixels, vessels coloured if labels are given."""
    low, high = SOFT_TISSUE_WINDOW.low, SOFT_TISSUE_WINDOW.high
    grey = np.clip((hu.astype(float) - low) / (high - low), 0, 1) * 255
    picture = np.repeat(grey[..., None], 3, -1)
    if labels is not None:
        vessel = labels > 0
        picture[vessel] = 0.4 * picture[vessel] + 0.6 * COLOURS[labels[vessel]]
    size = (round(hu.shape[1] * spacing[1] / pixel_mm), round(hu.shape[0] * spacing[0] / pixel_mm))
    resized = np.asarray(Image.fromarray(picture.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR))
    return resized // 8 * 8 + 4  # 32 levels, or noise would make the file three times as large


def level_of(truth):
    """The slice z with most vessel among those with artery, vein and collecting system."""
    counts = [(truth == c).sum((1, 2)) for c in (1, 2, 3)]
    return int(np.argmax(np.prod([np.minimum(c, 150) for c in counts], axis=0)))


def views(case, over=False):
    """Axial and coronal slice through the hilum of a case."""
    hu, truth, spacing = case.scan.hu, case.truth, case.scan.spacing
    z, y = level_of(truth), int(np.argwhere(case.kidneys)[:, 1].mean())
    axial = panel(hu[z], spacing[1:], truth[z] if over else None)
    coronal = panel(hu[::-1, y], (spacing[0], spacing[2]), truth[::-1, y] if over else None)
    return axial, coronal


def framed(picture, height, width):
    """A picture in the middle of a black frame."""
    frame = np.zeros((height, width, 3), np.uint8)
    picture = picture[:height, :width]
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    frame[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return frame


def save(rows, path):
    """Save rows of pictures as one PNG."""
    widths = [max(row[i].shape[1] for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        height = max(picture.shape[0] for picture in row)
        lines.append(np.concatenate([framed(p, height, w) for p, w in zip(row, widths, strict=True)], 1))
    sheet = Image.fromarray(np.concatenate(lines, 0))
    sheet.save(path, optimize=True)
    print(path, sheet.size, path.stat().st_size // 1024, "KiB")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anatomy", type=Path, required=True)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    out = Path(__file__).parent / "images"
    maps: list[LabelMap] = [
        load_label_map(
            given.anatomy / f"{n}.nii.gz", given.anatomy / f"{n}.json", fine_mm=1.1, cache=given.cache
        )
        for n in MAPS
    ]

    def full(label_map, variety="typical"):
        return PhantomSettings(field="full", spacing=SPACING, label_map=label_map, variety=variety)

    real = read_scan(given.scan)
    z, y = int(real.shape[0] * 0.73), int(real.shape[1] * 0.5)
    seen = [panel(real.hu[z], real.spacing[1:]), panel(real.hu[::-1, y][:75], real.spacing[::2])]
    rows = [seen]
    for label_map in maps:
        rows.append(list(views(make_renderings(1006, full(label_map), ["unenhanced"])[0])))
    save([[row[0] for row in rows], [row[1] for row in rows]], out / "phantom_beside_real.png")

    cases = make_renderings(1011, full(maps[0]), ["arterial", "venous", "excretory"])
    seen = [views(case) for case in cases]
    over = views(cases[0], over=True)
    save([[s[0] for s in seen] + [over[0]], [s[1] for s in seen] + [over[1]]], out / "phantom_phases.png")

    tiles = []
    for number, source in enumerate([*maps, None] * 2):
        phase = ("arterial", "venous", "excretory")[number % 3 if number < 3 else (number + 1) % 3]
        settings = PhantomSettings(phase=phase, spacing=(0.9, 0.8, 0.8), label_map=source, variety="wide")
        case = make_case(1020 + number, settings)
        z = level_of(case.truth)
        tiles.append([panel(case.scan.hu[z], case.scan.spacing[1:], t, 0.6) for t in (None, case.truth[z])])
    save([[t[0] for t in tiles], [t[1] for t in tiles]], out / "phantom_variety.png")


if __name__ == "__main__":
    main()
