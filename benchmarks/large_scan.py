"""A scan of 512 × 512 × 400 from file to file: where the time goes, how much memory, how soon it lets go.

    python benchmarks/large_scan.py ../shared/data/ct_abdomen_3mm.nii.gz
    python benchmarks/large_scan.py SCAN --shape 120 160 160       # (z, y, x), for a first try

A real scan is interpolated to that size, with noise of 8 HU (seed 0), and written; then it is read,
segmented, decided anew with another sensitivity, and its labels are written, as ``kidnet segment`` and the
window do. The yardstick is the network: exporting has to take less than that. A box is tried before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from segment import peak_gb

BOX_MM = 100.0
"""Edge of the box that is segmented alone, about the middle."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--shape", nargs=3, type=int, default=(400, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large_ct.nii.gz"
        enlarge(arguments.scan, tuple(arguments.shape), path)
        measure(path, Path(folder) / "large_labels.nii.gz", arguments.threads)


def enlarge(source: Path, shape: tuple[int, int, int], path: Path) -> None:
    """Interpolate a scan to a shape (z, y, x), trilinearly, and write it."""
    from scipy import ndimage

    from napari_kidnet.scans import Scan, read_scan, write_scan

    scan = read_scan(source)
    steps = [(own - 1) / (new - 1) for own, new in zip(scan.shape, shape, strict=True)]
    rng = np.random.default_rng(0)
    hu = np.empty(shape, np.int16)
    y, x = np.meshgrid(np.arange(shape[1]) * steps[1], np.arange(shape[2]) * steps[2], indexing="ij")
    for z in range(shape[0]):
        low = int(z * steps[0])
        part = z * steps[0] - low
        pair = scan.hu[low].astype(np.float32) * (1 - part)
        if part:
            pair += scan.hu[low + 1].astype(np.float32) * part
        hu[z] = np.rint(ndimage.map_coordinates(pair, [y, x], order=1) + rng.normal(0, 8, shape[1:]))
    spacing = tuple(own * step for own, step in zip(scan.spacing, steps, strict=True))
    write_scan(path, Scan.from_array(hu, spacing, name="large"))


def measure(path: Path, out: Path, threads: int) -> None:
    from napari_kidnet.labelling import PredictRequest, decide_steps, predict_steps
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.scans import read_scan, write_labels

    load_checkpoint()  # PyTorch is imported
    began = time.perf_counter()
    scan = read_scan(path)
    size = " × ".join(map(str, scan.shape))
    print(f"read     {time.perf_counter() - began:.1f} s ({size}, {path.stat().st_size / 1e6:.0f} MB)")

    box = box_about_the_middle(scan)
    began = time.perf_counter()
    drained(predict_steps(scan, PredictRequest(box=box, threads=threads)))
    print(f"box      {time.perf_counter() - began:.1f} s ({BOX_MM:.0f} mm)", flush=True)

    began = time.perf_counter()
    prediction, tiles = drained(predict_steps(scan, PredictRequest(threads=threads)))
    network = time.perf_counter() - began
    longest = max(np.diff([0.0, *tiles]))
    print(
        f"segment  {network:.1f} s, {len(tiles)} reports, at most {longest:.1f} s apart, as cancelling takes"
    )
    print(f"         peak memory {peak_gb():.2f} GB, {prediction.where}", flush=True)

    began = time.perf_counter()
    steps = decide_steps(prediction, 0.3, scan.shape[0] // 2)
    next(steps)
    first = time.perf_counter() - began
    drained(steps)
    whole = time.perf_counter() - began
    print(f"slider   {first * 1e3:.0f} ms to the slice on the screen, {whole:.2f} s for all")

    began = time.perf_counter()
    write_labels(out, prediction.labels, like=scan)
    took = time.perf_counter() - began
    megabytes = out.stat().st_size / 1e6
    print(f"write    {took:.2f} s ({megabytes:.1f} MB), {100 * took / network:.1f} % of the network's time")
    print(f"         peak memory {peak_gb():.2f} GB")


def box_about_the_middle(scan) -> tuple[int, ...]:
    ends: list[int] = []
    for length, mm in zip(scan.shape, scan.spacing, strict=True):
        half = round(BOX_MM / mm / 2)
        ends += [max(0, length // 2 - half), min(length, length // 2 + half)]
    return tuple(ends)


def drained(steps):
    """Return a generator's result and when it reported, in seconds."""
    began, times = time.perf_counter(), []
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value, times
        times.append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
