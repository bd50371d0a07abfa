"""What a user would do instead of `kidnet finetune`, for `finetuning.py`: MONAI's networks with Dice and CE.

As many filters and scales as our small network (8, 16, 32, 64), instance normalisation, patches of 48³, two a
step, drawn as ours are (a quarter each about background, artery, vein and collecting system) with the same
changes of shape and no others, Adam, sliding windows with an overlap of .25. These losses know no unreviewed
voxels: labels are taken as they lie, corrected where the annotator was and predicted elsewhere, within the
box about all that was reviewed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from finetuning_sites import GRID, OLD_SEEDS, scores, truth_of

from napari_kidnet.scans.intensity import normalise
from napari_kidnet.training.augmentation import Augmentation, augment
from napari_kidnet.training.patches import PatchStore

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = (-200.0, 500.0)
PATCH = 48
FILTERS = (8, 16, 32, 64)
BASE_SECONDS = 373.0
"""As long as our small network was trained on the old site."""


def network(name: str, seed: int) -> torch.nn.Module:
    from monai.networks.nets import DynUNet, UNet

    torch.manual_seed(seed)
    if name == "U-Net":
        return UNet(3, 1, 4, FILTERS, (2, 2, 2), num_res_units=2, norm="instance")
    sizes = [3] * len(FILTERS)
    strides = [1, 2, 2, 2]
    return DynUNet(3, 1, 4, sizes, strides, strides[1:], filters=list(FILTERS), norm_name="instance")


def learn(net: torch.nn.Module, store: PatchStore, seconds: float, rate: float, seed: int) -> int:
    """Train for so many seconds of the process; return the steps."""
    from monai.losses import DiceCELoss

    torch.set_num_threads(1)
    loss_of = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    changes = Augmentation(curve=0, gain=0, noise=0, blur=0, thick_slices=0)
    rng = np.random.default_rng(seed)
    net.train()
    began, steps = time.process_time(), 0
    while (part := (time.process_time() - began) / seconds) < 1.0:
        patches = [augment(store, store.draw(rng), 0, changes, rng) for _ in range(2)]
        images = torch.from_numpy(np.stack([normalise(each.hu, WINDOW) for each in patches]))[:, None]
        labels = torch.from_numpy(np.stack([each.labels for each in patches]))[:, None].long()
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (steps + 1) / 10) * (1.0 - part) ** 0.9
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(images)
        loss = loss_of(logits.float(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12.0)
        optimiser.step()
        steps += 1
    return steps


def pretrained(home: Path, name: str, seconds: float) -> torch.nn.Module:
    """Give the network trained on the old site's scans."""
    net = network(name, 0)
    file = home / f"rival-{name}-{seconds:g}.pt"
    if not file.is_file():
        store = PatchStore(home / "rival-patches", PATCH, GRID)
        for seed in OLD_SEEDS:
            scan, truth, _ = truth_of(home, "arterial", seed)
            store.add(f"arterial-{seed}", scan.hu, scan.spacing, truth.astype(np.uint8), None, [[seed]])
        print(f"{name}: {learn(net, store, seconds, 2e-3, 0)} steps on the old site", flush=True)
        torch.save(net.state_dict(), file)
    net.load_state_dict(torch.load(file, weights_only=True))
    return net


def lessons_store(folder: Path, lessons) -> PatchStore:
    """Give the corrected scans, each cut to the box about what was reviewed."""
    store = PatchStore(folder, PATCH, GRID)
    for each in lessons:
        points = np.argwhere(each.reviewed)
        where = tuple(slice(a, b) for a, b in zip(points.min(0), points.max(0) + 1, strict=True))
        scan, labels = each.scan.hu[where], each.labels[where]
        store.add(each.name, scan, each.scan.spacing, np.ascontiguousarray(labels), None, [[each.hash]])
    return store


@torch.no_grad()
def f1_of(net: torch.nn.Module, home: Path, site: str, seeds) -> list[float]:
    from monai.inferers import sliding_window_inference

    net.eval()
    rows = []
    for seed in seeds:
        scan, truth, _ = truth_of(home, site, seed)
        image = torch.from_numpy(normalise(scan.hu.astype(np.float32), WINDOW))[None, None]
        with torch.autocast("cpu", torch.bfloat16):
            logits = sliding_window_inference(image, (96, 96, 96), 1, net, 0.25, "gaussian")
        rows.append(scores(logits[0].float().argmax(0).numpy(), truth)["f1"])
    return [float(each) for each in np.mean(rows, axis=0)]


def compare(home: Path, name: str, start: str, lessons, site: str, seconds: float, seed: int, tests):
    """Train from scratch, or go on from the old site's network, on corrected scans alone."""
    net = network(name, seed) if start == "scratch" else pretrained(home, name, BASE_SECONDS)
    before = None
    if start != "scratch":
        before = [f1_of(net, home, each, tests) for each in (site, "arterial")]
    folder = home / "rivals" / f"{site}-{seed}"
    rate = 2e-3 if start == "scratch" else 1e-3
    steps = learn(net, lessons_store(folder, lessons), seconds, rate, seed)
    new, old = (f1_of(net, home, each, tests) for each in (site, "arterial"))
    return {"new": new, "old": old, "before": before, "steps": steps, "train_seconds": seconds}
