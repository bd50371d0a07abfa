"""How rate, augmentation and the rest were chosen for `finetuning.py`, on validation scans only.

python benchmarks/finetuning_choice.py [--base narrow|shipped] [--site venous|thick|plain]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from finetuning import SHIPPED, begin, finetuned, keep_store, lesson, settings_of
from finetuning_sites import base_checkpoint, earlier_cases, measured

from napari_kidnet.training.augmentation import Augmentation

VALIDATION = (502, 503)
LESSONS = (390, 391, 392)
CONTRASTS = Augmentation()
ARMS = {
    "narrow": [
        ("crop", {"learning_rate": 3e-4, "augmentation": CONTRASTS}),
        ("crop", {"augmentation": CONTRASTS}),
        ("crop", {"augmentation": CONTRASTS, "edited_share": 0.2}),
        ("crop", {"augmentation": CONTRASTS, "edited_share": 0.0}),
        ("crop", {"edited_share": 0.0}),
        ("box", {"augmentation": CONTRASTS}),
        ("box", {"augmentation": CONTRASTS, "distillation": 0.1}),
        ("slices", {"edited_share": 0.0}),
        ("slices", {"edited_share": 0.0, "distillation": 0.1}),
        ("slices", {"edited_share": 0.3, "distillation": 0.1}),
        ("slices", {"edited_share": 0.0, "distillation": 0.1, "steps": 800}),
        ("slices", {"learning_rate": 3e-4, "steps": 600}),
    ],
    "shipped": [("slices", SHIPPED | {"steps": 200, "learning_rate": rate}) for rate in (7.5e-4, 3e-4)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="narrow", choices=list(ARMS))
    parser.add_argument("--site", default="venous")
    parser.add_argument("--home", type=Path, default=Path("runs/finetuning"))
    arguments = parser.parse_args()
    home, base, site = arguments.home, arguments.base, arguments.site

    def both(checkpoint: Path) -> str:
        means = [np.mean(measured(home, checkpoint, each, VALIDATION)) for each in (site, "arterial")]
        return "new {:.3f}, old {:.3f}".format(*means)

    first = base_checkpoint(home, base)
    keep_store(home, base)
    print("before", both(first), flush=True)
    for number, (by, changes) in enumerate(ARMS[base]):
        folder = home / "choice" / f"{base}-{site}-{number}"
        begin(home, base, folder)
        lessons = [lesson(home, site, seed, first, by) for seed in LESSONS]
        settings = settings_of(0, **({"largest_drop": 1.0} | changes))
        result, _, seconds = finetuned(folder, lessons, "1.safetensors", settings, earlier_cases(home, base))
        told = {name: value for name, value in changes.items() if name != "augmentation"}
        contrasts = "contrasts too" if "augmentation" in changes else "as the network's own"
        print(by, told, contrasts, both(result.candidate), f"{seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
