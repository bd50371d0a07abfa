"""A scan stored in each of the 48 axis orders gives the same labels in space, voxel by voxel.

    python benchmarks/orientations.py ../shared/data/ct_abdomen_3mm.nii.gz --box 40 70 30 70 30 80

Stores the scan in every order, segments each file, writes the labels, and compares them in the first file's
order. Without ``--box`` all of the scan is segmented 48 times.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from napari_kidnet import load_checkpoint, read_scan, segment, write_labels
from napari_kidnet.segmentation import SegmentSettings


def orders():
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            yield np.column_stack([axes, flips]).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--box", type=int, nargs=6)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    settings = SegmentSettings(
        threads=arguments.threads, box=tuple(arguments.box) if arguments.box else None, sensitivity=1.0
    )
    image = nibabel.load(arguments.scan)
    voxels = np.asanyarray(image.dataobj)
    first, differing = None, 0
    with tempfile.TemporaryDirectory() as folder:
        for number, order in enumerate(orders(), start=1):
            path, out = Path(folder, "stored.nii.gz"), Path(folder, "labels.nii.gz")
            turned = apply_orientation(voxels, order)
            affine = image.affine @ inv_ornt_aff(order, voxels.shape)
            nibabel.save(nibabel.Nifti1Image(turned, affine), path)
            scan = read_scan(path)
            write_labels(out, segment(scan, checkpoint, settings), like=scan)
            written = nibabel.load(out)
            assert written.shape == turned.shape
            assert np.allclose(written.affine, affine)
            back = ornt_transform(io_orientation(affine), io_orientation(image.affine))
            labels = apply_orientation(np.asanyarray(written.dataobj), back)
            first = labels if first is None else first
            differing += int(np.count_nonzero(labels != first))
            codes = "".join(nibabel.aff2axcodes(affine))
            print(f"{number:2d} {codes}: {int(np.count_nonzero(labels))} vessel voxels", flush=True)
    print(f"48 orders, {differing} voxels differ")
    raise SystemExit(differing != 0)


if __name__ == "__main__":
    main()
