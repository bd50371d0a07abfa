"""The table of islands against scipy.ndimage.label with skimage.regionprops, in one run.

    python benchmarks/islands.py                     512 x 512 x 400, phantom annotations tiled
    python benchmarks/islands.py --labels F          any label volume (NIfTI), tiled to the size

Both tables hold the same columns: volume, box, centroid, mean and least probability, radius, length and end
points, distance to the largest of the class, neighbouring classes.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import tracemalloc

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_kidnet.islands import (
    Context,
    delete,
    find_islands,
    keep_largest,
    paint,
    relabel,
    update_islands,
)
from napari_kidnet.islands.finding import group
from napari_kidnet.islands.skeletons import skeleton_of
from napari_kidnet.islands.sparse import foreground

SPACING = (1.0, 0.8, 0.8)


def one_phantom(seed, rng):
    """Give a label volume as a network leaves it: a human-like annotation, and false blobs around it."""
    from napari_kidnet.phantom import PhantomSettings, human_annotation, make_case

    case = make_case(seed, PhantomSettings(phase="arterial", field="crop"))
    labels = human_annotation(case.truth, case.kidneys, case.scan.spacing, rng).astype(np.uint8)
    for _ in range(15):
        centre = [rng.integers(4, size - 4) for size in labels.shape]
        side = rng.integers(1, 4, 3)
        labels[tuple(slice(c - s, c + s) for c, s in zip(centre, side, strict=True))] = rng.integers(1, 4)
    return labels


def tiled(labels, shape):
    repeats = [-(-size // have) for size, have in zip(shape, labels.shape, strict=True)]
    whole = np.tile(labels, repeats)[tuple(slice(0, size) for size in shape)]
    return np.ascontiguousarray(whole)


def baseline(labels, log):
    """Make the same table in the way that comes to mind first: a loop over regionprops."""
    from skimage.measure import regionprops

    rows = []
    for class_id in np.unique(labels)[1:].tolist():
        ids, _ = ndimage.label(labels == class_id, np.ones((3, 3, 3)))
        regions = regionprops(ids)
        largest = max(regions, key=lambda region: region.area)
        tree = cKDTree(largest.coords * SPACING)
        for region in regions:
            mask = np.pad(region.image, 1)
            inner = ndimage.distance_transform_edt(mask, sampling=SPACING)
            line = skeleton_of(region.image, SPACING)
            sure = np.exp(log[(class_id, *region.coords.T)].astype(float)) if log is not None else np.nan
            around = tuple(
                slice(max(a - 1, 0), b + 1) for a, b in zip(region.bbox[:3], region.bbox[3:], strict=True)
            )
            shell = ndimage.binary_dilation(ids[around] == region.label) & (labels[around] != class_id)
            rows.append(
                (
                    region.area,
                    region.bbox,
                    region.centroid,
                    np.mean(sure),
                    np.min(sure),
                    inner.max(),
                    line.length_mm,
                    tree.query(region.coords * SPACING)[0].min(),
                    np.unique(labels[around][shell]),
                )
            )
    return rows


class Heartbeat:
    """Peak resident memory while some code runs, in bytes above what it was."""

    def __enter__(self):
        import psutil

        self._process, self.peak = psutil.Process(), 0
        self._start, self._on = self._process.memory_info().rss, True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while self._on:
            self.peak = max(self.peak, self._process.memory_info().rss - self._start)
            time.sleep(0.005)

    def __exit__(self, *_):
        self._on = False
        self._thread.join()


def best_of(times, work):
    took = []
    for _ in range(times):
        begin = time.process_time()  # of this process: the machine may be shared
        result = work()
        took.append(time.process_time() - begin)
    return min(took), result


def decisions(labels, table):
    """Measure the reasons in docs/islands.md: the pieces by cc3d and by ours, and thinning by the voxel."""
    import cc3d
    from skimage.morphology import skeletonize

    dense_s, ids = best_of(3, lambda: cc3d.connected_components(labels, connectivity=26))
    sparse_s, _ = best_of(3, lambda: group(foreground(labels), labels, labels.shape))
    box = np.pad(table.mask_of(int(np.argmax(table.voxels))), 1)
    thinning_s, _ = best_of(3, lambda: skeletonize(box))
    return {
        "cc3d_s": round(dense_s, 3),
        "cc3d_over_labels": round(ids.nbytes / labels.nbytes, 1),
        "pieces_s": round(sparse_s, 3),
        "thinning_us_a_voxel": round(1e6 * thinning_s / box.size, 2),
    }


def table_benchmark(shape, path, repeats):
    rng = np.random.default_rng(1000)
    if path:
        from napari_kidnet import read_labels

        piece = read_labels(path).astype(np.uint8)
    else:
        piece = one_phantom(1000, rng)
    labels = tiled(piece, shape)
    context = Context(SPACING)
    find_islands(labels[:32], context)  # warm-up: imports
    seconds, table = best_of(repeats, lambda: find_islands(labels, context))
    print(f"table of {len(table)} islands: {seconds:.2f} s", file=sys.stderr, flush=True)
    with Heartbeat() as memory:
        find_islands(labels, context)
    tracemalloc.start()
    find_islands(labels, context)
    _, traced = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    slow, rows = best_of(1, lambda: baseline(labels, None))
    assert sorted(row[0] for row in rows) == sorted(table.voxels.tolist())
    report = {
        "shape": list(shape),
        "islands": len(table),
        "foreground_percent": round(100 * table.flat.size / labels.size, 2),
        "table_s": round(seconds, 3),
        "baseline_s": round(slow, 3),
        "ratio": round(slow / seconds, 1),
        "memory_over_labels_rss": round(memory.peak / labels.nbytes, 2),
        "memory_over_labels_traced": round(traced / labels.nbytes, 2),
    }
    report |= decisions(labels, table)
    trunk = {table.largest_of(c) for c in (1, 2, 3)}
    report |= updates(labels, table, trunk, context, rng)
    return report


def updates(labels, table, trunk, context, rng):
    """Time what follows an edit: of one island, of the largest, by a dab of the brush, of many islands."""
    report = {}
    others = [row for row in rng.permutation(len(table)).tolist() if row not in trunk][:40]
    largest = sorted(row for row in trunk if row is not None)
    kinds = {
        "update_island": [edit for row in others for edit in whole(labels, table, row)],
        "update_largest": [edit for row in largest for edit in whole(labels, table, row)],
        "brush_on_largest": [dab(labels, table, row, rng) for row in largest for _ in range(4)],
        "keep_largest": [keep_largest(labels, table, class_id) for class_id in (1, 2, 3)],
    }
    for name, edits in kinds.items():
        took = []
        for edit in edits:
            edit.apply(labels)
            took.append(best_of(1, lambda edit=edit: after(table, labels, edit, context))[0])
            edit.undo(labels)
        report |= {
            f"{name}_ms_median": round(1e3 * np.median(took)),
            f"{name}_ms_worst": round(1e3 * max(took)),
        }
    report["keep_largest_islands"] = [edit.what for edit in kinds["keep_largest"]]
    return report


def after(table, labels, edit, context):
    return update_islands(table, labels, edit.box, context, edit.labels.flat)


def whole(labels, table, row):
    other = 1 + int(table.class_id[row]) % 3
    return delete(labels, table, [table.id[row]]), relabel(labels, table, [table.id[row]], other)


def dab(labels, table, row, rng):
    """Paint a ball of 2 mm at an island's surface, in its class."""
    voxels = table.voxels_of(row)
    voxel = voxels[np.flatnonzero(np.diff(voxels) != 1)[rng.integers(100)]]
    at = np.unravel_index(int(voxel), labels.shape)
    return paint(labels, [at], int(table.class_id[row]), 2.0, SPACING)


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--shape", nargs=3, type=int, default=(400, 512, 512), metavar=("Z", "Y", "X"))
    ask.add_argument("--labels")
    ask.add_argument("--repeats", type=int, default=3)
    wish = ask.parse_args()
    result = table_benchmark(tuple(wish.shape), wish.labels, wish.repeats)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
