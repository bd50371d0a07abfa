"""Why stitched labels differ from MONAI's: one network, one volume, windows of several sizes and none.

    python benchmarks/windows.py                    # 192³, the shipped checkpoint, seed 1000

The reference is the network run once over the whole volume, in which no voxel lies near a window's border but
those at the volume's own. Each way of stitching is compared with it and with the truth.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from segment import f1_of, print_machine, volume

if TYPE_CHECKING:
    import numpy as np

WAYS = ((96, 0.25), (96, 0.5), (128, 0.25), (160, 0.25))
"""Windows of MONAI's inferer, voxels, and their overlap."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=192, help="edge of the volume, a multiple of 16")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    import torch
    from monai.inferers import sliding_window_inference

    from napari_kidnet.network import build_network, load_checkpoint
    from napari_kidnet.scans import Scan, normalise
    from napari_kidnet.segmentation import SegmentSettings, segment

    print_machine(arguments)
    torch.set_num_threads(arguments.threads)
    checkpoint = replace(load_checkpoint(), spacing=None, sensitivity=1.0, temperature=1.0)
    hu, truth, spacing = volume(arguments.size)
    net = build_network(checkpoint).eval()
    with torch.inference_mode():
        scan = torch.from_numpy(normalise(hu, checkpoint.window))[None, None]
        whole = net(scan)[0].argmax(dim=0).to(torch.uint8).numpy()
        show("whole volume at once", whole, whole, truth)
        settings = SegmentSettings(device="cpu", threads=arguments.threads, skip_air=False)
        show("ours", segment(Scan.from_array(hu, spacing), checkpoint, settings), whole, truth)
        for size, overlap in WAYS:
            logits = sliding_window_inference(
                scan,
                (size,) * 3,
                1,
                net,
                overlap=overlap,
                mode="gaussian",
                padding_mode="constant",
                cval=-1.0,
            )
            labels = logits[0].argmax(dim=0).to(torch.uint8).numpy()
            show(f"MONAI {size}³, overlap {overlap}", labels, whole, truth)


def show(way: str, labels: np.ndarray, whole: np.ndarray, truth: np.ndarray) -> None:
    differ = 100 * float((labels != whole).mean())
    print(
        f"{way:26s} F1 {f1_of(labels, truth)}; {differ:.3f} % of the voxels differ from the whole", flush=True
    )


if __name__ == "__main__":
    main()
