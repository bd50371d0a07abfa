"""What tiles cost in accuracy: labels in tiles against labels in one window, for halos and ramps.

    python benchmarks/seams.py --size 128 --tile 64
    python benchmarks/seams.py --checkpoint F --scan scan.nii.gz --tile 96

A network with batch normalisation should need no ramp, and no more halo than it takes for the F1 to stay 1.
The choice of ``Predictor.halo`` and ``Predictor.blend`` rests on this table.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from segment import f1_of, volume

HALOS = (0, 4, 8, 16, 24)
RAMPS = (0, 8, 16)


def main() -> None:
    from napari_kidnet.errors import SettingsError
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.progress import drain
    from napari_kidnet.scans import Scan, read_scan
    from napari_kidnet.segmentation import SegmentSettings, segment_steps

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="the shipped one by default")
    parser.add_argument("--scan", type=Path, help="a test phantom by default")
    parser.add_argument("--size", type=int, default=128, help="edge of the phantom, voxels")
    parser.add_argument("--tile", type=int, default=64, help="edge of the largest tile, voxels")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.scan is None:
        hu, _, spacing = volume(arguments.size)
        scan = Scan.from_array(hu, spacing)
    else:
        scan = read_scan(arguments.scan)
    checkpoint = load_checkpoint(arguments.checkpoint)

    def labels(voxels: int, halo: int, ramp: int) -> tuple[np.ndarray, float]:
        settings = SegmentSettings(
            device="cpu",
            threads=arguments.threads,
            tile_voxels=voxels,
            halo_voxels=halo,
            blend_voxels=ramp,
        )
        start = time.perf_counter()
        found = drain(segment_steps(scan, checkpoint, settings)).labels
        return found, time.perf_counter() - start

    whole, seconds = labels(10**9, 0, 0)
    print(f"{checkpoint.network.norm} normalisation, scan {scan.shape}, tiles up to {arguments.tile}³")
    print(f"one window: {seconds:.1f} s, {100 * (whole > 0).mean():.2f} % vessel")
    print("halo  ramp  seconds  other labels, % of vessel   F1 against one window (A / V / U)")
    for halo in HALOS:
        for ramp in RAMPS:
            try:
                tiled, seconds = labels(arguments.tile**3, halo, ramp)
            except SettingsError as error:
                print(f"{halo:4d}  {ramp:4d}  {error}")
                continue
            other = 100 * np.count_nonzero(tiled != whole) / max(1, np.count_nonzero(whole))
            print(f"{halo:4d}  {ramp:4d}  {seconds:7.1f}  {other:26.3f}   {f1_of(tiled, whole)}")


if __name__ == "__main__":
    main()
